"""What a run says while it trains: how far it is, lines of JSON, TensorBoard."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from polymodal.files import naming, write_file
from polymodal.progress import Progress
from polymodal.training.non_finite import GRADIENT


class Log:
    """Gathers terms on the device and reads them only when a line is written, so that no step waits for them.

    Args:
        stage: Folder; ``metrics.jsonl`` and ``tensorboard/`` go there.
        step: Step from which the stage goes on; later lines of a killed run are dropped.
        clock: Knows how far the stage is.
        progress: Tells it to the user.
        enabled: False on all processes but the first.
        share: Of a step's rows that this process sees; its terms are scaled up by that.
    """

    def __init__(self, stage: Path, step: int, clock: Any, progress: Progress, *, enabled: bool, share: float = 1.0):
        self.clock, self.progress, self.enabled, self.share = clock, progress, enabled, share
        self.of_step: dict[str, Tensor] = {}
        self.sums: dict[tuple[str, ...], Tensor] = {}
        self.since, self.text = time.monotonic(), ""
        self.path = stage / "metrics.jsonl"
        if not enabled:
            return
        stage.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            kept = [line for line in read_log(self.path) if line["step"] <= step]
            write_file(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self.board = SummaryWriter(str(stage / "tensorboard"), purge_step=step)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self.enabled:
            self.board.close()

    def add(self, player: str, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Terms of one micro_batch: those of a step add up to the step's."""
        if not self.enabled:
            return
        prefix = "" if player == "model" else f"{player}."
        for name, value in {"loss": loss.detach(), **terms}.items():
            name, value = prefix + name, value.float() / self.share
            self.of_step[name] = self.of_step[name] + value if name in self.of_step else value

    def norm(self, player: str, value: Tensor) -> None:
        """The norm of a player's gradient before clipping."""
        if self.enabled:
            self.of_step[GRADIENT + player] = value.float()

    def end_step(self) -> None:
        """Called after the last player's move; what is not finite of the step does not count."""
        if self.of_step:
            names, values = tuple(self.of_step), torch.stack(list(self.of_step.values()))
            both = torch.stack([values.nan_to_num(0, 0, 0), values.isfinite().float()])
            self.sums[names] = self.sums[names] + both if names in self.sums else both
            self.of_step = {}

    def write(self, step: int, rate: float, samples: int, adapted: Mapping[str, float]) -> None:
        """One line: means since the last one, of ``samples`` rows; ``adapted`` weights and rates as they now are."""
        if not self.enabled:
            return
        now = time.monotonic()
        sums, counts = dict[str, float](), dict[str, float]()
        for names, both in self.sums.items():
            for name, value, count in zip(names, *both.tolist(), strict=True):
                sums[name], counts[name] = sums.get(name, 0.0) + value, counts.get(name, 0.0) + count
        line = {name: value / counts[name] for name, value in sums.items() if counts[name]}
        speed = samples / (now - self.since)
        self._emit(step, {**line, "learning_rate": rate, "samples_per_second": speed, **adapted})
        self.sums, self.since = {}, now
        shown = "  ".join(f"{name} {value:.3f}" for name, value in line.items() if not name.startswith(GRADIENT))
        self.text = f"  {shown}  {speed:.0f} samples/s"

    def tick(self, step: int) -> None:
        """Tells how far the stage is, with what was last written."""
        if self.enabled:
            done, spent = min(1.0, self.clock.progress), self.clock.seconds
            self.progress.at(done, f"step {step:,}{self.text}", left=spent / done - spent if done else None)

    def scores(self, step: int, scores: dict[str, float]) -> None:
        """Validation scores."""
        if self.enabled and scores:
            self._emit(step, {f"validation.{name}": value for name, value in scores.items()})
        self.since = time.monotonic()

    def decisions(self, step: int, lines: list[str]) -> None:
        """What the trainee decided about its own training."""
        if self.enabled and lines:
            with naming(self.path), self.path.open("a") as file:
                file.writelines(json.dumps({"step": step, "decision": line}) + "\n" for line in lines)

    def _emit(self, step: int, values: dict[str, float]) -> None:
        values = {name: value for name, value in values.items() if math.isfinite(value)}  # JSON has no others
        with naming(self.path), self.path.open("a") as file:
            file.write(json.dumps({"step": step, "seconds": round(self.clock.seconds, 3), **values}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, step)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a ``metrics.jsonl``; what a killed process left half written is left out."""
    lines = []
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines
