"""What is measured of generated values as a set: how like real data they are, and how varied."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from polymodal.evaluation.examiner import Examiner, direction_name
from polymodal.evaluation.metrics import (
    extrapolated_frechet_distance,
    kernel_distance,
    precision_and_recall,
    sharpness,
    spread,
)
from polymodal.evaluation.metrics.result import Aspect, MetricResult
from polymodal.types import Field

NEIGHBOURS = 3
"""Of precision and recall."""
FEWEST_ROWS = 50
"""Rows from which on samples are measured as a set."""
FEWEST_CLUSTERS = 10
"""Clusters of rows from which on samples are measured as a set."""
MOST_ROWS = 5_000
"""Rows that are compared pair by pair, at most, evenly apart."""
ROWS_PER_DIMENSION = 10
"""Rows for each dimension of the features from which on there is a Fréchet distance, which fits covariances."""


class DistributionMetrics:
    """Measures sets of generated values against the real values of their rows.

    No other real values are needed, and none that a judge has learned from: what a perfect model scores is known in
    theory, or is what the real values score among themselves. Chance is the score of values each number of which comes
    from another row: they have the right statistics place by place but no form.

    Args:
        examiner: Has the judge and the rows that are evaluated.
        seed: Seed of the values of chance.
    """

    def __init__(self, examiner: Examiner, *, seed: int):
        self.examiner, self.seed = examiner, seed

    def measure(
        self, given: Sequence[str], to: str, real: Field, samples: Sequence[Field], clusters: np.ndarray
    ) -> list[MetricResult]:
        """Quality and diversity; nothing of fewer rows than show it, which is noted.

        Args:
            given: Fields that were given.
            to: Field that was generated.
            real: The real values of n rows.
            samples: One or several for each row.
            clusters: (n,) the cluster of each row, see ``clusters_of``.
        """
        kind, made, count = self.examiner.kinds[to], samples[0], len(np.unique(clusters))
        if len(real) < FEWEST_ROWS or count < FEWEST_CLUSTERS:
            self.examiner.notes.append(
                f"{direction_name(given, to)}: its samples are not measured as a set, as there are {len(real)} rows of "
                f"{count} different inputs; {FEWEST_ROWS} of {FEWEST_CLUSTERS} are needed."
            )
            return []
        results = []
        if not kind.classes:
            results += self._in_features(to, real, made, clusters)
            if kind.fine_detail:
                results.append(_fine_detail(kind.seen(real), kind.seen(made)))
            results += self._spread(to, real, samples)
        results += kind.compare_sets(real, made)
        return [result.in_clusters(clusters) for result in results]

    def _in_features(self, to: str, real: Field, made: Field, clusters: np.ndarray) -> list[MetricResult]:
        """Kernel and Fréchet distance, precision and recall."""
        kept = np.linspace(0, len(real) - 1, min(len(real), MOST_ROWS)).astype(int)
        index, clusters = torch.from_numpy(kept), clusters[kept]
        sets = real.pick(index), made.pick(index), _shuffled(real, self.seed).pick(index)
        true, ours, shuffled = (self._features(to, values) for values in sets)
        if true is None or ours is None or shuffled is None:
            return []

        def distance(name: str, measure: Callable[..., tuple[float, float, float]]) -> MetricResult:
            return MetricResult(
                name, np.zeros(0), rows=kept, whole=measure(true, ours, clusters), ceiling=0.0,
                chance=measure(true, shuffled, clusters)[0], higher_is_better=False, aspect="quality",
            )  # fmt: skip

        results = [distance("kernel distance", kernel_distance)]
        if len(true) >= ROWS_PER_DIMENSION * true.shape[1]:
            results.append(distance(self.examiner.kinds[to].frechet_metric, extrapolated_frechet_distance))
        found = precision_and_recall(true, ours, clusters, NEIGHBOURS)
        best, chance = (
            precision_and_recall(true, values, clusters, NEIGHBOURS, halves=0) for values in (true, shuffled)
        )
        aspects: tuple[tuple[str, Aspect], ...] = (("precision", "quality"), ("recall", "diversity"))
        return results + [
            MetricResult(
                name, np.zeros(0), rows=kept, whole=found[place], ceiling=best[place][0], chance=chance[place][0],
                aspect=aspect,
            )
            for place, (name, aspect) in enumerate(aspects)
        ]  # fmt: skip

    def _features(self, to: str, field: Field) -> Tensor | None:
        """(n, F) features whose numbers are about of unit size, as the kernel expects, unit vectors of a judge too."""
        features = self.examiner.features(to, field)
        return features if features is None or not self.examiner.knows(to) else features * features.shape[1] ** 0.5

    def _spread(self, to: str, real: Field, samples: Sequence[Field]) -> list[MetricResult]:
        """How far samples of one input lie apart, in units of how far real values of all inputs do."""
        if len(samples) < 2 or (true := self.examiner.features(to, real)) is None:
            return []
        features = torch.stack([x for sample in samples if (x := self.examiner.features(to, sample)) is not None])
        ours = spread(features).numpy()
        apart = torch.cdist(true.double(), true.double()).numpy()

        def statistic(rows: np.ndarray) -> float:
            of_real = apart[np.ix_(rows, rows)].sum() / max(len(rows) * (len(rows) - 1), 1)
            return float(ours[rows].mean() / max(of_real, 1e-12))

        return [
            MetricResult.of_set(
                "spread of an input's samples", statistic, len(ours), bounds=(0, math.inf), chance=1.0,
                higher_is_better=None, aspect="diversity",
            )
        ]  # fmt: skip


def _fine_detail(real: Field, made: Field) -> MetricResult:
    """Fine detail of the samples over that of their rows' real values."""
    true, ours = sharpness(real).numpy(), sharpness(made).numpy()
    return MetricResult("sharpness", ours, true, ceiling=1.0, higher_is_better=None, aspect="quality")


def _shuffled(field: Field, seed: int) -> Field:
    """Values each number of which comes from a random row."""
    flat = field.value.flatten(1)
    index = np.random.default_rng([seed, 2]).integers(len(flat), size=tuple(flat.shape))
    return field.with_value(flat.gather(0, torch.from_numpy(index)).view_as(field.value))
