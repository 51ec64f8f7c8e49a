"""Losses, gradients and weights that are not finite: a step is skipped and counted; what cannot go on is stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from polymodal.errors import TrainingError
from polymodal.nn.pieces import largest
from polymodal.training.adaptation import shared
from polymodal.training.ema import Average
from polymodal.training.engines import Engine

_log = logging.getLogger(__name__)
GRADIENT = "gradient_norm."
"""What the norm of a player's gradient is logged as, before the player's name."""


class StepGuard:
    """Counts the steps that an engine skipped because a gradient was not finite.

    All is counted on the device, and read where the loop waits for it anyway. The gradients are those of all
    processes, so all of them count the same.

    Args:
        engine: Skips the steps.
        stage: Name of what is trained, for messages.
        skipped: Steps skipped before.
        remedy: What would be right, for messages.
    """

    def __init__(self, engine: Engine, stage: str, skipped: int, remedy: str):
        self.engine, self.stage, self.before, self.remedy = engine, stage, skipped, remedy
        self.bad: dict[tuple[str, ...], Tensor] = {}
        self.counts = torch.zeros(3, dtype=torch.int64, device=engine.device)  # in all, in a row, most in a row
        self.step_is_bad = torch.zeros((), dtype=torch.bool, device=engine.device)
        self.told = 0

    def add(self, names: tuple[str, ...], values: Sequence[Tensor], *, skip: bool = False) -> None:
        """Counts which values, scalars, are not finite; with ``skip``, the step was skipped if one is not."""
        bad = torch.stack([value.detach() for value in values]).isfinite().logical_not()
        self.bad[names] = self.bad[names] + bad if names in self.bad else bad.int()
        if skip:
            self.step_is_bad = self.step_is_bad | bad.any()

    def end_step(self) -> Tensor:
        """Called after the last player's move; whether the step was skipped, which nobody has to wait for."""
        skipped, (total, row, most) = self.step_is_bad, self.counts
        bad = skipped.long()
        row = (row + bad) * bad
        self.counts = torch.stack([total + bad, row, torch.maximum(most, row)])
        self.step_is_bad = torch.zeros_like(skipped)
        return skipped

    @property
    def skipped(self) -> int:
        """Steps that were skipped, those before among them, as of the last ``read``."""
        return self.before + self.told

    def read(self, step: int, blame: Callable[[], Iterable[str]]) -> list[str]:
        """A line that says what was skipped since the last time, if anything was.

        Args:
            step: Steps taken.
            blame: Parameters whose gradients are not finite in the last step; asked only where all losses are finite.

        Raises:
            TrainingError: Too many steps in a row were skipped.
        """
        total, _, most = self.counts.tolist()
        if total == self.told:
            return []
        found = {name: n for names, bad in self.bad.items() for name, n in zip(names, bad.tolist(), strict=True) if n}
        losses = [name for name in shared(found) if not name.startswith(GRADIENT)]
        terms = [name for name in losses if not name.endswith("loss")] or losses
        self.bad, more, self.told = {}, total - self.told, total
        if most >= self.engine.patience:
            what = ", ".join(terms) or f"the gradient of {parts(blame())}"
            raise TrainingError(
                f"{self.stage}: not finite in {most} steps in a row, up to step {step}: {what}; training has stopped; "
                f"{self.remedy}"
            )
        line = f"skipped {more} of the last steps; not finite: {', '.join(terms) or 'the gradient'}"
        if self.told == more and self.engine.main:
            _log.warning("%s: %s; later ones are listed in metrics.jsonl", self.stage, line)
        return [line]

    def check_end(self, step: int) -> None:
        """Refuses a training most of which was skipped.

        Raises:
            TrainingError: It is such a one.
        """
        if 2 * self.skipped > step:
            raise TrainingError(
                f"{self.stage}: {self.skipped} of {step} steps were skipped, since a loss or gradient was not finite; "
                f"{self.remedy}"
            )


def check_weights(trainee: Any, averages: Average, stage: str, last: int | None, remedy: str) -> None:
    """Refuses weights that must not be kept, nor shown in samples.

    Args:
        trainee: What is trained.
        averages: Of its weights.
        stage: Name of what is trained.
        last: Step of the last checkpoint, which stays; None if there is none.
        remedy: What would be right.

    Raises:
        TrainingError: A weight or an average is not finite, on any process.
    """
    weights = [*trainee.named_parameters(), *averages.weights.items()]
    finite = largest([weight for _, weight in weights]).isfinite().tolist()
    names = shared({name: 1 for (name, _), fine in zip(weights, finite, strict=True) if not fine})
    if names:
        kept = f"the checkpoint of step {last} stays" if last is not None else "nothing is kept"
        raise TrainingError(f"{stage}: weights are no longer finite ({parts(names)}); {kept}; {remedy}")


def parts(names: Iterable[str]) -> str:
    """The parts that parameters belong to, such as ``heads.picture``, of which at most three are named."""
    found = sorted({".".join(name.split(".")[:2]) for name in names})
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
