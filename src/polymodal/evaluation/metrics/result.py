"""The result of one metric, with what real values score and what is reached by chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from polymodal.evaluation.metrics.bootstrap import bootstrap_interval, set_interval

Aspect = Literal["coherence", "quality", "diversity", "likelihood", "memorisation", "reconstruction"]
"""What a metric measures: agreement with the inputs, likeness to real data, variety, probability of the real values,
likeness to single training rows, or what a codec keeps."""


@dataclass(frozen=True)
class MetricResult:
    """One metric of some rows.

    Attributes:
        metric: Its name; the name of a judge is part of it.
        values: (n,) numerators of the rows; empty for a metric of the whole set.
        weights: (n,) denominators of the rows; None if all are 1.
        rows: (n,) the places of the measured rows among those that were given; all rows by default.
        ceiling: What real values score or, if that is less, what the best function of the inputs could reach.
        chance: What a model scores that does not look at its inputs.
        remarks: What a judge saw, by row.
        is_right: Whether the values are 1 for right and 0 for wrong.
        higher_is_better: None where it is best to score as real values do.
        aspect: What the metric measures.
        whole: The value and the ends of its 95 % interval, for a metric of the whole set.
    """

    metric: str
    values: np.ndarray
    weights: np.ndarray | None = None
    _: KW_ONLY
    rows: np.ndarray = None  # type: ignore[assignment]  # an array from here on, see __post_init__
    ceiling: float | None = None
    chance: float | None = None
    remarks: dict[int, str] = field(default_factory=dict)
    is_right: bool = False
    higher_is_better: bool | None = True
    aspect: Aspect = "coherence"
    whole: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.rows is None:
            object.__setattr__(self, "rows", np.arange(len(self.values)))

    @classmethod
    def of_set(
        cls,
        metric: str,
        statistic: Callable[[np.ndarray], float],
        rows: int,
        *,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        draws: int = 40,
        seed: int = 0,
        **attributes: Any,
    ) -> Self:
        """A metric of the whole set.

        Args:
            metric: Its name.
            statistic: The metric of the rows at the given places (n,), which may repeat.
            rows: Number of rows.
            bounds: The least and the greatest value that is possible.
            draws: Number of resampled sets for the interval.
            seed: Seed of the resampling.
            attributes: Others of ``MetricResult``.
        """
        value, (least, most) = statistic(np.arange(rows)), map(float, bounds)
        low, high = set_interval(statistic, value, rows, seed=seed, draws=draws)
        whole = (value, min(max(low, least), value), max(min(high, most), value))
        return cls(metric, np.zeros(0), rows=np.arange(rows), whole=whole, **attributes)

    @classmethod
    def mean(cls, results: Sequence[Self]) -> Self:
        """The mean, row by row, of one metric of several samples of the same rows."""
        first, whole = results[0], None
        if first.whole is not None:
            value, low, high = np.array([result.whole for result in results]).mean(0).tolist()
            whole = (value, low, high)
        return replace(first, values=np.mean([result.values for result in results], axis=0), whole=whole)

    @property
    def divisors(self) -> np.ndarray:
        """(n,) the weights, 1 where none are given."""
        return np.ones(len(self.values)) if self.weights is None else self.weights

    def interval(self, seed: int) -> tuple[float, float, float]:
        """The value over all rows and the ends of its 95 % bootstrap interval."""
        if self.whole is not None:
            return self.whole
        value = float(self.values.sum() / max(self.divisors.sum(), 1e-12))
        return (value, *bootstrap_interval(self.values, self.divisors, seed=seed))

    def to_json(self) -> dict[str, Any]:
        """All but the remarks, which are kept with the samples that are shown."""
        arrays = {name: value.tolist() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return vars(self) | arrays | {"remarks": {}}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """What ``to_json`` gave."""
        arrays = {name: np.array(entry[name]) for name in ("rows", "values", "weights") if entry[name] is not None}
        return cls(**(entry | arrays | {"whole": tuple(entry["whole"]) if entry["whole"] else None}))
