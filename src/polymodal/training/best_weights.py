"""The weights that were best on held-out rows, where those of the end have learned the training rows by heart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from polymodal.balancing import Seen
from polymodal.files import write_file
from polymodal.nn.pieces import placed_like

MARGIN = 0.01
"""Share of the loss by which earlier weights must be better than those of the end: less is chance."""


class BestWeights:
    """Keeps, in a file, the averaged weights of the validation whose losses were the least in sum, and the buffers.

    Source: Prechelt, "Early stopping - but when?", 1998; training goes on to its end, as a loss may fall again.

    Args:
        file: The file, which may be there from before the training was stopped.

    Attributes:
        best: Step and loss of the weights in the file; None if there are none.
    """

    def __init__(self, file: Path):
        self.file = file

    @property
    def best(self) -> tuple[int, float] | None:
        if not self.file.exists():
            return None
        with safe_open(self.file, "pt") as tensors:
            known = tensors.metadata()
        return int(known["step"]), float(known["loss"])

    @staticmethod
    def total(losses: Mapping[str, float]) -> float:
        """The sum of the fields' losses, of ``field.term``; those of no field do not count."""
        own = {name: loss for name, loss in losses.items() if "." in name and not name.startswith("context.")}
        return sum(Seen(0, own).of_fields().values())

    def offer(self, step: int, losses: Mapping[str, float], weights: Mapping[str, Tensor]) -> None:
        """Writes the weights to the file if none before were better.

        Args:
            step: Of the validation.
            losses: Of held-out rows, as of ``total``; always of the same rows.
            weights: By name.
        """
        loss, best = self.total(losses), self.best
        if math.isfinite(loss) and (best is None or loss < best[1]):
            tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
            write_file(self.file, save(tensors, {"step": str(step), "loss": repr(loss)}))

    def restore(self, weights: Mapping[str, Tensor], loss: float) -> str | None:
        """Puts the best weights in place of those of the end, if they are better by more than chance.

        Args:
            weights: Of the end, by name; changed in place.
            loss: Theirs, of the same rows.

        Returns:
            What was done, in a sentence; None if nothing was.
        """
        best = self.best
        if best is None or best[1] > loss - MARGIN * abs(loss):
            return None
        with safe_open(self.file, "pt") as tensors:
            for name in weights.keys() & tensors.keys():  # earlier versions kept parameters alone
                weights[name].copy_(placed_like(tensors.get_tensor(name), weights[name]))
        return (
            f"the weights of step {best[0]} are kept: their loss of held-out rows is {best[1]:.4g}, that of the end is "
            f"{loss:.4g}"
        )
