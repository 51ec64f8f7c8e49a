"""Averages of the weights over a share of the training, of a length that is chosen when it is over.

An average of length s weighs the weights after step k of t by (k / t) ** exponent, whose standard deviation is s t: it
forgets the beginning whatever the number of steps. Two lengths are averaged, and snapshots of them are kept now and
then; averages of other lengths are sums of these, by least squares between the curves of their weights.

Source: Karras et al., "Analyzing and improving the training dynamics of diffusion models", 2024, section 3.2 and
appendix C.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from polymodal.files import atomic_file, write_tensors
from polymodal.nn.pieces import placed_like, whole, zeros_apart

STORED = (0.05, 0.10)
"""Lengths that are averaged, as shares of the training. The last one generates until another is chosen."""
CANDIDATES = (0.04, 0.05, 0.07, 0.10, 0.14, 0.20)
"""Lengths to choose from."""
SNAPSHOTS = 8
"""Parts of the training, at the ends of which there is a snapshot, in 16 bits; the last is what trains."""
EVERY_STEP, STRIDE = 32, 4
"""Steps that are averaged each; later ones are taken together, for the weights move little."""
T = TypeVar("T")
_KEY = re.compile(r"[\d.]+:")


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
        """What resuming needs, by length and name."""
        parts = zip(self.lengths, self.stored, strict=True)
        return {_key(length, name): t for length, part in parts for name, t in part.items()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        """Puts back ``state`` and the ``weights`` that generated; earlier versions had those alone.

        A length that was not averaged before begins with the average of the nearest one that was.
        """
        state = _by_length(state)
        known = lengths_of(state)
        for length, part in zip(self.lengths, self.stored, strict=True):
            nearest = min(known, key=lambda own: abs(math.log(own / length)), default=None)
            for name, average in part.items():
                average.copy_(weights[name] if nearest is None else state[_key(nearest, name)])
        device = {name: p.device for name, p in self.parameters.items()}
        self._chosen = {name: weights[name].to(device[name], copy=True) for name in self.parameters}

    def snapshot(self, folder: Path, step: int, *, write: bool = True) -> None:
        """Keeps the averages after ``step`` steps, in 16 bits; processes that hold pieces call it, one to ``write``."""
        kept = {}
        for name, average in self.state().items():  # one after the other, as all may be more than a process can hold
            piece = whole(average.to(torch.float16))
            if write:
                kept[name] = piece.cpu()
        if write:
            with atomic_file(folder / f"step-{step:08d}.safetensors") as partial:
                write_tensors(partial, kept)

    @torch.no_grad()
    def of_lengths(self, lengths: Sequence[float], folder: Path, step: int) -> list[dict[str, Tensor]]:
        """Averages of other lengths after ``step`` steps, from the stored ones and the snapshots of ``folder``.

        Each snapshot is read once for all of them. What is put together is on the CPU, as there may be much of it.
        """
        files = [path for path in snapshots(folder) if 0 < _step(path) < last_average(step)]
        kept = [(own, _step(path)) for path in files for own in lengths_of(_by_length(_keys(path)))]
        kept += [(own, step) for own in self.lengths]
        factors = dict(zip(kept, np.stack([combine(kept, length, step) for length in lengths], axis=1), strict=True))
        made = [{name: zeros_apart(p) for name, p in self.parameters.items()} for _ in lengths]
        for at, file in [*((_step(path), path) for path in files), (step, None)]:
            state = self.state() if file is None else _by_length(load_file(file))
            for own in lengths_of(state):
                for total, factor in zip(made, factors[own, at].tolist(), strict=True):
                    for name, average in total.items():
                        kept_then = state[_key(own, name)].to(average.device, average.dtype)
                        average.add_(kept_then if file is None else placed_like(kept_then, average), alpha=factor)
        return made

    @torch.no_grad()
    def choose(
        self,
        lengths: Sequence[float],
        folder: Path,
        step: int,
        judge: Callable[[], float],
        agree: Callable[[float], float],
        seconds: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> tuple[float, dict[float, float]]:
        """Lets the average of the best of some lengths generate.

        Args:
            lengths: At least one.
            folder: Of the snapshots.
            step: Steps taken.
            judge: The loss of what generates.
            agree: The first process's number, on all of them.
            seconds: That it may take. Stored lengths come first, the last of them before all, and then those that have
                to be put together, the nearest first; none is begun for which there is no time left.
            now: Clock of the seconds.

        Returns:
            The best length, and the losses of those that were judged; of one length alone none is asked for.
        """
        stored = [length for length in reversed(self.lengths) if length in lengths]
        others = sorted(set(lengths) - set(stored), key=lambda length: abs(math.log(length / self.lengths[-1])))
        losses: dict[float, float] = {}
        begin, slowest = now(), 0.0
        made: dict[float, dict[str, Tensor]] = {}

        def of(length: float) -> dict[str, Tensor]:
            if length in self.lengths:
                part = self.stored[self.lengths.index(length)]
            else:
                if not made:
                    made.update(zip(others, self.of_lengths(others, folder, step), strict=True))
                part = made[length]
            return {name: t.to(self.parameters[name].device, copy=True) for name, t in part.items()}

        for length in [*stored, *others] if len(lengths) > 1 else []:
            if losses and agree(float(now() - begin + slowest > seconds)):
                break
            start = now()
            self._chosen = of(length)
            losses[length] = judge()
            slowest = max(slowest, now() - start)
        tried = list(losses) or [*stored, *others]
        best = tried[int(agree(float(np.argmin(np.nan_to_num(list(losses.values()) or [0.0], nan=np.inf)))))]
        self._chosen = of(best)
        return best, losses


def _key(length: float, name: str) -> str:
    """What the average of a parameter is called in a file."""
    return f"{length:g}:{name}"


def _by_length(state: Mapping[str, T]) -> dict[str, T]:
    """Averages of a file by ``_key``; earlier versions wrote the place of a length among those that were stored."""
    if all(_KEY.match(key) for key in state):
        return dict(state)
    parts = {key: key.partition(".") for key in state}
    places = sorted({place for place, _, _ in parts.values()})
    known = dict(zip(places, STORED[-len(places) :], strict=True))
    return {_key(known[place], name): state[key] for key, (place, _, name) in parts.items()}


def _keys(path: Path) -> dict[str, None]:
    with safe_open(path, "pt") as file:
        return dict.fromkeys(file.keys())


def lengths_of(state: Mapping[str, object]) -> list[float]:
    """The lengths of the averages of a file."""
    return sorted({float(key.partition(":")[0]) for key in state})


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
