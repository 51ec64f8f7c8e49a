"""What is measured of generated values as a set: how like real data they are, and how varied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.metrics import covered, frechet_distance, sharpness, spread, within
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.evaluation.scorecard.memorisation import TrainingSet
from polymodal.types import Field

NEIGHBOURS = 3
"""Of precision and coverage."""


class DistributionMetrics:
    """Measures sets of generated values against the real ones, and real ones against each other.

    The ceiling is what other real values score, those of the training rows if they are known. Chance is the score of
    values each number of which comes from another row: they have the right statistics place by place but no form.

    Args:
        examiner: Has the judge and the rows that are evaluated.
        training_set: Real values to compare with.
        most: Most values of a set.
        seed: Seed of the choice of rows and of the intervals.
    """

    def __init__(self, examiner: Examiner, training_set: TrainingSet | None, *, most: int, seed: int):
        self.examiner, self.training_set, self.most, self.seed = examiner, training_set, most, seed
        self._others: dict[str, Field] = {}

    def measure(self, to: str, real: Field, samples: Sequence[Field]) -> list[MetricResult]:
        """Quality and diversity.

        Args:
            to: Field that was generated.
            real: The real values of n rows.
            samples: One or several for each row.
        """
        kind, made, others = self.examiner.kinds[to], samples[0], self.others(to, len(real))
        results = []
        if not kind.classes:
            results += self._in_features(to, real, made, others)
            if kind.fine_detail:
                results.append(_fine_detail(real, made, others))
            results += self._spread(to, real, samples)
        return results + kind.compare_sets(real, made, others, self.seed)

    def others(self, to: str, rows: int) -> Field | None:
        """At most as many other real values as rows, evenly apart; None if no other values are known."""
        training = None if self.training_set is None else self.training_set.training
        if training is None or to not in training.columns:
            return None
        if to not in self._others:
            order = np.random.default_rng([self.seed, 1]).permutation(np.flatnonzero(training.present[to]))
            chosen = training.select(np.sort(order[: self.most])).only(to)
            self._others[to] = chosen.decode(chosen.batch(np.arange(len(chosen))))[to]
        field = self._others[to]
        step = max(1.0, len(field) / max(rows, 1))
        places = (torch.arange(min(rows, len(field))) * step).long()
        return field.pick(places) if len(places) else None

    def _in_features(self, to: str, real: Field, made: Field, others: Field | None) -> list[MetricResult]:
        """Fréchet and kernel distance, precision and coverage."""
        true, ours = self._features(to, real), self._features(to, made)
        if true is None or ours is None or len(true) <= NEIGHBOURS:
            return []
        shuffled = self._features(to, _shuffled(real, self.seed))
        fresh = self._features(to, others) if others is not None and len(others) == len(real) else None
        assert shuffled is not None
        true, ours = true.double(), ours.double()
        distance = MetricResult.of_set(
            self.examiner.kinds[to].frechet_metric, lambda rows: frechet_distance(true, ours[rows]), len(ours),
            ceiling=None if fresh is None else frechet_distance(true, fresh), chance=frechet_distance(true, shuffled),
            bounds=(0, math.inf), higher_is_better=False, aspect="quality", seed=self.seed,
        )  # fmt: skip
        results = [distance, self._kernel_distance(true, ours, fresh, shuffled)]
        known = self._training_features(to)
        reference, itself = (true, 1) if known is None else (known, 0)

        def precision(values: Tensor) -> Tensor:
            return within(reference, values, NEIGHBOURS).double()

        def coverage(values: Tensor) -> Tensor:
            return covered(true, values, reference, NEIGHBOURS + itself).double()

        for name, aspect, metric, best in (
            (
                "precision",
                "quality",
                precision,
                fresh if known is None else true,
            ),  # training rows lie within themselves
            ("coverage", "diversity", coverage, fresh),
        ):
            ceiling, chance = (None if values is None else float(metric(values).mean()) for values in (best, shuffled))
            values = metric(ours).numpy()
            results.append(MetricResult(name, values, ceiling=ceiling, chance=chance, aspect=aspect))  # type: ignore[arg-type]
        return results

    def _features(self, to: str, field: Field) -> Tensor | None:
        """(n, F) features whose numbers are about of unit size, as the kernel expects."""
        return self._scaled(to, self.examiner.features(to, field))

    def _training_features(self, to: str) -> Tensor | None:
        """Features of the distinct training values, whose neighbourhoods are narrower than those of a few rows."""
        if self.training_set is None or to not in self.training_set.training.columns:
            return None
        features = self._scaled(to, self.training_set.features(to))
        return None if features is None or len(features) <= NEIGHBOURS else features

    def _scaled(self, to: str, features: Tensor | None) -> Tensor | None:
        """The unit vectors of a judge times the root of their width."""
        return features if features is None or not self.examiner.knows(to) else features * features.shape[1] ** 0.5

    def _kernel_distance(self, true: Tensor, ours: Tensor, fresh: Tensor | None, shuffled: Tensor) -> MetricResult:
        """Squared maximum mean discrepancy with the kernel (x y / F + 1)^3, which with Inception's features is KID;
        without the pairs of a sample and its own row's real value, which are no independent draws.

        Source: Gretton et al., "A kernel two-sample test", 2012, equation 4; the kernel: Bińkowski et al.,
        "Demystifying MMD GANs", 2018, section 4.
        """
        n = len(true)

        def pairs(made: Tensor) -> np.ndarray:
            x, y = (values.double() / values.shape[1] ** 0.5 for values in (true, made))
            matrix = (x @ x.T + 1) ** 3 + (y @ y.T + 1) ** 3 - (x @ y.T + 1) ** 3 - (y @ x.T + 1) ** 3
            return matrix.fill_diagonal_(0).numpy()

        of_samples = pairs(ours)

        def statistic(rows: np.ndarray) -> float:
            counts = np.bincount(rows, minlength=n).astype(float)
            return float(counts @ of_samples @ counts / max(n * n - (counts**2).sum(), 1.0))

        ceiling, chance = (None if x is None else float(pairs(x).sum() / (n * (n - 1))) for x in (fresh, shuffled))
        return MetricResult.of_set(
            "kernel distance", statistic, n, ceiling=ceiling, chance=chance, higher_is_better=False, aspect="quality",
            draws=400, seed=self.seed,
        )  # fmt: skip

    def _spread(self, to: str, real: Field, samples: Sequence[Field]) -> list[MetricResult]:
        """How far samples of one input lie apart, in units of how far real values of all inputs do."""
        if len(samples) < 2 or len(real) < 2 or (true := self.examiner.features(to, real)) is None:
            return []
        features = torch.stack([x for sample in samples if (x := self.examiner.features(to, sample)) is not None])
        values = spread(features).numpy() / max(float(torch.pdist(true.double()).mean()), 1e-12)
        name = "spread of an input's samples"
        return [MetricResult(name, values, chance=1.0, higher_is_better=None, aspect="diversity")]


def _fine_detail(real: Field, made: Field, others: Field | None) -> MetricResult:
    """Fine detail of the samples over that of their rows' real values."""
    true, ours = sharpness(real).numpy(), sharpness(made).numpy()
    ceiling = 1.0 if others is None else float(sharpness(others).mean() / max(true.mean(), 1e-12))
    return MetricResult("sharpness", ours, true, ceiling=ceiling, higher_is_better=None, aspect="quality")


def _shuffled(field: Field, seed: int) -> Field:
    """Values each number of which comes from a random row."""
    flat = field.value.flatten(1)
    index = np.random.default_rng([seed, 2]).integers(len(flat), size=tuple(flat.shape))
    return field.with_value(flat.gather(0, torch.from_numpy(index)).view_as(field.value))
