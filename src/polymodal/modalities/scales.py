"""Scales on which numbers are nearer to a normal distribution than as they are.

Shapes: n training values of S numbers each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from polymodal.errors import ConfigError

SCALES = ("linear", "log", "quantile")
Knots = list[list[list[float]] | None]
"""By number, its values and their places on the scale where that is ``quantile``, else None."""

MOST_VALUES = 20_000
"""Training values that are kept to choose a scale by, evenly spread over all."""
MOST_KNOTS = 33
FEWEST_VALUES = 20
"""Fewer tell nothing of a distribution."""
NEAR = 0.95
"""Correlation with a normal distribution's quantiles above which a simpler scale is near enough."""
BETTER = 0.02
"""By which the correlation of another scale has to be higher."""
REACH = 6.0
LARGEST = float(np.finfo(np.float32).max)
_NUMBERS_TOGETHER = 4096
"""That are added to the moments at once."""
ROUNDING = 16 * np.finfo(np.float64).eps
"""Deviations of less than this share of the mean are errors of rounding: the number does not vary."""


def check_knots(knots: Sequence[Any], scale: Sequence[str], name: str) -> Knots:
    """Knots as numbers.

    Raises:
        ConfigError: A number on a ``quantile`` scale has none, or they do not rise.
    """
    checked: Knots = []
    for place, own in enumerate(knots):
        if own is None:
            checked.append(None)
            continue
        pair = np.asarray(own, np.float64)
        if pair.ndim != 2 or len(pair) != 2 or pair.shape[1] < 2 or not (np.diff(pair) > 0).all():
            raise ConfigError(f"{name}: those of number {place} are not two rising lists of one length")
        checked.append(pair.tolist())
    for place, kind in enumerate(scale):
        if kind == "quantile" and (place >= len(checked) or checked[place] is None):
            raise ConfigError(f"{name}: number {place} is on a quantile scale and has none")
    return checked


@dataclass(frozen=True)
class Scales:
    """Numbers (..., S) as given <-> standardised, in 64 bits, each on its scale.

    The logarithm goes on as a line ``REACH`` standard deviations below the mean, so that zero and less have a place.

    Attributes:
        kinds: One of ``SCALES`` for each number.
        mean, std: (S,) on the scales.
        knots: Of those on a quantile scale.
    """

    kinds: Sequence[str]
    mean: np.ndarray
    std: np.ndarray
    knots: Knots | None = None

    def standardise(self, numbers: np.ndarray) -> np.ndarray:
        out = np.array(numbers, np.float64)
        logs, floor = self._logs, self._floor
        least = np.exp(floor)
        x = out[..., logs]
        out[..., logs] = np.where(x > least, np.log(np.maximum(x, least)), floor + (x - least) / least)
        for place, values, places in self._quantiles:
            out[..., place] = _line(out[..., place], values, places)
        return (out - self.mean) / self.std

    def restore(self, standard: np.ndarray) -> np.ndarray:
        """The inverse of ``standardise``."""
        out = np.asarray(standard, np.float64) * self.std + self.mean
        logs, floor = self._logs, self._floor
        least = np.exp(floor)
        x = out[..., logs]
        out[..., logs] = np.where(x > floor, np.exp(x.clip(floor, np.log(LARGEST))), least + (x - floor) * least)
        for place, values, places in self._quantiles:
            out[..., place] = _line(out[..., place], places, values)
        return out

    @property
    def _logs(self) -> np.ndarray:
        return np.asarray(self.kinds) == "log"

    @property
    def _floor(self) -> np.ndarray:
        """Logarithms from which on the scale is a line, of the numbers on a logarithmic one."""
        return (self.mean - REACH * self.std)[self._logs].clip(-700, 700)

    def floors(self) -> list[float]:
        """The same of each number, 0 of those on another scale."""
        floors = np.zeros(len(self.kinds))
        floors[self._logs] = self._floor
        return floors.tolist()

    @property
    def _quantiles(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for place, own in enumerate(self.knots or []):
            if own is not None and self.kinds[place] == "quantile":
                values, places = np.asarray(own)
                yield place, values, places


def _line(x: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Piecewise linear from ``start`` to ``end``, both rising; beyond the ends by the mean slope of all."""
    slope = (end[-1] - end[0]) / (start[-1] - start[0])
    inside = np.interp(x, start, end)
    return inside + slope * (np.minimum(x - start[0], 0) + np.maximum(x - start[-1], 0))


@dataclass(frozen=True)
class Fitted:
    """Scales, and on them the means and standard deviations of the training values, one of each number."""

    scale: list[str]
    knots: Knots | None
    mean: list[float]
    std: list[float]


class Sample:
    """What one pass over training values keeps of them.

    Args:
        size: S.
    """

    def __init__(self, size: int):
        self.count, self.stride = 0, 1
        self.values: list[np.ndarray] = []
        self.lowest = np.full(size, np.inf)
        self._moments = {kind: (np.zeros(size, np.longdouble), np.zeros(size, np.longdouble)) for kind in SCALES[:2]}
        self._waiting: list[np.ndarray] = []

    def add(self, numbers: np.ndarray) -> None:
        """One more row (S,)."""
        if self.count % self.stride == 0:
            self.values.append(numbers.copy())  # not a view, which would keep the others
            if len(self.values) * max(len(numbers), 1) > MOST_VALUES * 64 or len(self.values) > MOST_VALUES:
                self.values, self.stride = self.values[::2], 2 * self.stride
        self.count += 1
        self._waiting.append(numbers)
        if len(self._waiting) * len(numbers) >= _NUMBERS_TOGETHER:
            self._take()

    def _take(self) -> None:
        """Adds the rows that wait to the moments.

        In the longest floats, and about the mean of these rows: there is no cancellation where it is far from zero, and
        no squares of tiny numbers that vanish.

        Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983, equation 2.1.
        """
        if not self._waiting:
            return
        rows, new = np.stack(self._waiting), len(self._waiting)
        self._waiting = []
        self.lowest = np.minimum(self.lowest, rows.min(0))
        logs = np.log(np.where(self.lowest > 0, rows, 1))
        for kind, scaled in (("linear", rows), ("log", logs)):
            mean, squares = self._moments[kind]
            own = scaled.mean(0, dtype=np.longdouble)
            delta = own - mean
            squares += np.square(scaled - own).sum(0) + np.square(delta) * ((self.count - new) * new / self.count)
            mean += delta * (new / self.count)

    def fit(self, scale: Sequence[str] | None, knots: Knots | None) -> Fitted:
        """The scales that are given, or chosen by the values; and the moments on them."""
        self._take()
        sample = np.stack(self.values)
        chosen = list(scale) if scale is not None else [self._choose(sample[:, k], k) for k in range(sample.shape[1])]
        if "quantile" in chosen and knots is None:
            knots = [make_knots(sample[:, place]) if kind == "quantile" else None for place, kind in enumerate(chosen)]
            chosen = ["linear" if kind == "quantile" and not knots[k] else kind for k, kind in enumerate(chosen)]
        mean, std = [], []
        for place, kind in enumerate(chosen):
            if kind == "quantile":
                places = _line(sample[:, place], *np.asarray(knots[place]))  # type: ignore[index]
                middle, deviation = float(places.mean()), float(places.std())
            else:
                total, squares = self._moments[kind]
                middle, deviation = float(total[place]), float(np.sqrt(squares[place] / self.count))
            mean.append(middle)
            std.append(deviation if deviation > ROUNDING * abs(middle) else 1.0)
        return Fitted(chosen, knots if "quantile" in chosen else None, mean, std)

    def _choose(self, values: np.ndarray, place: int) -> str:
        """The first scale on which the values are near to normal, or much nearer than on those before."""
        if len(values) < FEWEST_VALUES or len(np.unique(values)) < FEWEST_VALUES:
            return "linear"
        near = {"linear": normality(values)}
        if self.lowest[place] > 0:
            near["log"] = normality(np.log(values))
        best = "linear"
        for kind, found in near.items():
            if near[best] < NEAR and found > near[best] + BETTER:
                best = kind
        return "quantile" if near[best] < NEAR - 4 * BETTER else best


def normality(values: np.ndarray) -> float:
    """Correlation of sorted values (n,) with the quantiles of a normal distribution: 1 if they are normal.

    Source: Shapiro and Francia, "An approximate analysis of variance test for normality", 1972.
    """
    ranks = (np.arange(len(values)) + 0.5) / len(values)
    quantiles = np.array([NormalDist().inv_cdf(rank) for rank in ranks])
    ordered = np.sort(values) - values.mean()
    spread = np.sqrt(np.square(ordered).sum() * np.square(quantiles).sum())
    return float(ordered @ quantiles / spread) if spread > 0 else 1.0


def make_knots(values: np.ndarray) -> list[list[float]] | None:
    """Values at even ranks, and the quantiles of a normal distribution at the same; None where there are too few."""
    ordered = np.sort(values)
    ranks = np.unique(np.linspace(0, len(ordered) - 1, MOST_KNOTS).round().astype(int))
    knots, first, counts = np.unique(ordered[ranks], return_index=True, return_counts=True)
    if len(knots) < 2:
        return None
    middle = ranks[first] + (ranks[np.minimum(first + counts - 1, len(ranks) - 1)] - ranks[first]) / 2
    places = [NormalDist().inv_cdf((rank + 0.5) / len(ordered)) for rank in middle]
    return [knots.tolist(), places]
