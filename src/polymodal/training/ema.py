"""Averages of the weights over a share of the training, of a length that is chosen when it is over.

An average of length s weighs the weights after step k of t by (k / t) ** exponent, whose standard deviation is s t: it
forgets the beginning whatever the number of steps. Two lengths are averaged, and snapshots of them are kept now and
then; averages of other lengths are sums of these, by least squares between the curves of their weights.

Source: Karras et al., "Analyzing and improving the training dynamics of diffusion models", 2024, section 3.2 and
appendix C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from polymodal.files import atomic_file
from polymodal.nn.pieces import placed_like, whole

STORED = (0.05, 0.10)
"""Lengths that are averaged, as shares of the training. The last one generates until another is chosen."""
CANDIDATES = (0.04, 0.05, 0.07, 0.10, 0.14, 0.20)
"""Lengths to choose from."""
SNAPSHOTS = 8
"""Parts of the training, at the ends of which there is a snapshot, in 16 bits; the last is what trains."""
EVERY_STEP, STRIDE = 32, 4
"""Steps that are averaged each; later ones are taken together, for the weights move little."""


def exponent(length: float) -> float:
    """Of the curve whose standard deviation is ``length``, a share of the training; see appendix C of the source."""
    squared = length**-2
    return float(np.roots([1, 7, 16 - squared, 12 - squared]).real.max())


def last_average(step: int) -> int:
    """The number of steps at which an average that is up to date after ``step`` steps took its last weights."""
    return step if step <= EVERY_STEP else step - step % STRIDE


def curve(length: float, step: int, ends: np.ndarray) -> np.ndarray:
    """(n,) how much an average after ``step`` steps has of the weights at each of the steps ``ends`` (n,) so far."""
    reach = (np.minimum(ends, last_average(step)) / max(last_average(step), 1)) ** (exponent(length) + 1)
    return np.diff(reach, prepend=0.0)


def combine(kept: Sequence[tuple[float, int]], length: float, step: int) -> np.ndarray:
    """(n,) the factors, of sum 1, of averages of (length, steps) for the nearest to that of a length after ``step``."""
    early, late = np.arange(1, min(step, EVERY_STEP) + 1), np.arange(EVERY_STEP + STRIDE, step + 1, STRIDE)
    ends = np.concatenate([early, late]).astype(np.float64)
    scale = np.sqrt(np.diff(ends, prepend=0.0))
    known = np.stack([curve(own, at, ends) / scale for own, at in kept])
    wanted, n = curve(length, step, ends) / scale, len(kept)
    equations = np.ones((n + 1, n + 1))
    equations[:n, :n], equations[n, n] = known @ known.T, 0.0
    return np.linalg.lstsq(equations, np.append(known @ wanted, 1.0), rcond=1e-10)[0][:n]


class Average:
    """Averaged copies of the parameters that train.

    Args:
        parameters: By name.
        lengths: That are averaged; each takes as much memory as the parameters, and as much time as to add them.

    Attributes:
        stored: For each of the lengths, averages by name.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], lengths: Sequence[float] = STORED):
        self.parameters, self.lengths = parameters, tuple(lengths)
        self.stored = [{name: p.detach().clone() for name, p in parameters.items()} for _ in self.lengths]
        self._exponents = [exponent(length) for length in self.lengths]
        self._chosen: dict[str, Tensor] | None = None

    @property
    def weights(self) -> dict[str, Tensor]:
        """By name, the averages that generate."""
        return self.stored[-1] if self._chosen is None else self._chosen

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Called after step number ``step`` (from 0)."""
        done = step + 1
        if last_average(done) != done:
            return
        self._chosen = None
        before = 1 - (STRIDE if done > EVERY_STEP else 1) / done
        for averages, power in zip(self.stored, self._exponents, strict=True):
            torch._foreach_lerp_(list(averages.values()), list(self.parameters.values()), 1 - before ** (power + 1))

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the averages and the parameters; a second call undoes it."""
        for name, parameter in self.parameters.items():
            kept = self.weights[name].clone()
            self.weights[name].copy_(parameter)
            parameter.copy_(kept)

    def state(self) -> dict[str, Tensor]:
        """What resuming needs."""
        return {f"{place}.{name}": t for place, part in enumerate(self.stored) for name, t in part.items()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        """Puts back ``state`` and the ``weights`` that generated; earlier versions had those alone."""
        for place, part in enumerate(self.stored):
            for name, average in part.items():
                average.copy_(state.get(f"{place}.{name}", weights[name]))
        device = {name: p.device for name, p in self.parameters.items()}
        self._chosen = {name: weights[name].to(device[name], copy=True) for name in self.parameters}

    def snapshot(self, folder: Path, step: int, *, write: bool = True) -> None:
        """Keeps the averages after ``step`` steps, in 16 bits; processes that hold pieces call it, one to ``write``."""
        kept = {}
        for name, average in self.state().items():  # one after the other, as all may be more than a process can hold
            piece = whole(average.to(torch.float16))
            if write:
                kept[name] = piece.cpu().contiguous()
        if write:
            with atomic_file(folder / f"step-{step:08d}.safetensors") as partial:
                save_file(kept, partial)

    @torch.no_grad()
    def of_length(self, length: float, folder: Path, step: int) -> dict[str, Tensor]:
        """Averages of another length after ``step`` steps, from the stored ones and the snapshots of ``folder``."""
        if length in self.lengths:
            return self.stored[self.lengths.index(length)]
        files = [path for path in snapshots(folder) if 0 < _step(path) < last_average(step)]
        kept = [(own, at) for at in (*map(_step, files), step) for own in self.lengths]
        factors = combine(kept, length, step).reshape(-1, len(self.lengths)).tolist()
        made = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        for file, own in zip([*files, None], factors, strict=True):
            state = self.state() if file is None else load_file(file)
            for place, factor in enumerate(own):
                for name, total in made.items():
                    kept_then = state[f"{place}.{name}"].to(total.device, total.dtype)
                    total.add_(placed_like(kept_then, total) if file else kept_then, alpha=factor)
        return made

    @torch.no_grad()
    def choose(
        self,
        lengths: Sequence[float],
        folder: Path,
        step: int,
        judge: Callable[[], float],
        agree: Callable[[float], float],
    ) -> tuple[float, list[float]]:
        """Lets the average of the best of some lengths generate.

        Args:
            lengths: At least one.
            folder: Of the snapshots.
            step: Steps taken.
            judge: The loss of what generates.
            agree: The first process's number, on all of them.

        Returns:
            The best length, and the loss of each; of one length alone none is asked for.
        """
        losses, best = [], 0
        if len(lengths) > 1:
            for length in lengths:
                self._chosen = {name: t.clone() for name, t in self.of_length(length, folder, step).items()}
                losses.append(judge())
            best = int(agree(float(np.argmin(np.nan_to_num(losses, nan=np.inf)))))
        self._chosen = {name: t.clone() for name, t in self.of_length(lengths[best], folder, step).items()}
        return lengths[best], losses


def snapshots(folder: Path) -> list[Path]:
    """The files of a run's snapshots, in order."""
    return sorted(folder.glob("step-*.safetensors"))


def drop_snapshots(folder: Path, after: int) -> None:
    """Removes those of steps after ``after``, which a run that was stopped takes anew."""
    for path in snapshots(folder):
        if _step(path) > after:
            path.unlink()


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
