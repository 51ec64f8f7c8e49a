"""The result of one metric, with what real values score and what is reached by chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from polymodal.evaluation.metrics.intervals import (
    bootstrap_interval,
    jackknife_interval,
    resampled_interval,
    share_interval,
)

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
        clusters: (n,) the cluster of each measured row: rows of one cluster depend on each other. None: each is one.
        statistic: The metric of the rows at some places, for a metric of the whole set whose interval is not known yet.
        bounds: The least and the greatest value that ``statistic`` can have.
        resampling: How the interval of ``statistic`` is found: parts of the rows are left out (``parts``), two of them
            as well (``pairs``), for what is far from a sum over rows; or rows repeat (``bootstrap``), for a median.
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
    clusters: np.ndarray | None = None
    statistic: Callable[[np.ndarray], float] | None = field(default=None, repr=False, compare=False)
    bounds: tuple[float, float] = field(default=(-math.inf, math.inf), repr=False)
    resampling: Literal["parts", "pairs", "bootstrap"] = field(default="parts", repr=False)

    def __post_init__(self) -> None:
        if self.rows is None:
            object.__setattr__(self, "rows", np.arange(len(self.values)))

    @classmethod
    def of_set(cls, metric: str, statistic: Callable[[np.ndarray], float], rows: int, **attributes: Any) -> Self:
        """A metric of the whole set.

        Args:
            metric: Its name.
            statistic: The metric of the rows at the given places (n,).
            rows: Number of rows.
            attributes: Others of ``MetricResult``.
        """
        return cls(metric, np.zeros(0), rows=np.arange(rows), statistic=statistic, **attributes)

    def in_clusters(self, clusters: np.ndarray) -> Self:
        """The same, whose interval respects that rows of one cluster depend on each other.

        Args:
            clusters: (N,) a number that names the cluster of each row that was given to the metric.
        """
        its = clusters[self.rows]
        if self.statistic is None:
            return replace(self, clusters=its)
        least, most = self.bounds
        if self.resampling == "bootstrap":
            value, low, high = resampled_interval(self.statistic, its)
        else:
            pairs = self.resampling == "pairs"
            value, low, high = jackknife_interval(self.statistic, its, parts=12 if pairs else 20, pairs=pairs)
        whole = (value, min(max(low, least), value), max(min(high, most), value))
        return replace(self, clusters=its, statistic=None, whole=whole)

    @classmethod
    def mean(cls, results: Sequence[Self]) -> Self:
        """The mean, row by row, of one metric of several samples of the same rows."""
        first, whole, statistic = results[0], None, None
        if first.whole is not None:
            value, low, high = np.array([result.whole for result in results]).mean(0).tolist()
            whole = (value, low, high)
        if statistics := [result.statistic for result in results if result.statistic is not None]:

            def statistic(rows: np.ndarray) -> float:
                return float(np.mean([each(rows) for each in statistics]))

        values = np.mean([result.values for result in results], axis=0)
        return replace(first, values=values, whole=whole, statistic=statistic)

    @property
    def divisors(self) -> np.ndarray:
        """(n,) the weights, 1 where none are given."""
        return np.ones(len(self.values)) if self.weights is None else self.weights

    def interval(self, seed: int) -> tuple[float, float, float]:
        """The value over all rows and the ends of its 95 % interval: Wilson's of shares, else of the bootstrap."""
        if self.statistic is not None:
            return self.in_clusters(np.arange(len(self.rows))).interval(seed)
        if self.whole is not None:
            return self.whole
        value = float(self.values.sum() / max(self.divisors.sum(), 1e-12))
        if self.weights is None and (self.is_right or np.isin(self.values, (0, 1)).all()):
            return (value, *share_interval(self.values, self.clusters))
        return (value, *bootstrap_interval(self.values, self.divisors, self.clusters, seed=seed))

    def to_json(self) -> dict[str, Any]:
        """All but the remarks, which are kept with the samples that are shown."""
        kept = {name: value for name, value in vars(self).items() if name not in ("statistic", "bounds", "resampling")}
        arrays = {name: value.tolist() for name, value in kept.items() if isinstance(value, np.ndarray)}
        return kept | arrays | {"remarks": {}}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """What ``to_json`` gave."""
        names = ("rows", "values", "weights", "clusters")  # earlier versions knew of no clusters
        arrays = {name: np.array(entry[name]) for name in names if entry.get(name) is not None}
        return cls(**(entry | arrays | {"whole": tuple(entry["whole"]) if entry["whole"] else None}))
