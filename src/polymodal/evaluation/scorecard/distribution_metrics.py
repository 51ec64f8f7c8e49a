"""What is measured of generated values as a set: how like real data they are, and how varied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.evaluation.judges.embedder import texts
from polymodal.evaluation.metrics import distinct_n, sharpness, spread
from polymodal.evaluation.metrics.distributions import covered, frechet_distance, within
from polymodal.evaluation.scorecard.agreement import Examiner, MetricResult, of_the_set
from polymodal.evaluation.scorecard.memorisation import TrainingSet
from polymodal.generation import write
from polymodal.modalities import Audio, Label, Text
from polymodal.types import Field

NEIGHBOURS = 3
"""Of precision and coverage."""


class DistributionMetrics:
    """Measures sets of generated values against the real ones, and real ones against each other.

    The ceiling is what other real values score, the training rows' if there are any; the floor is what values score
    each number of which comes from another row, so that they have the right statistics place by place but no form.

    Args:
        examiner: Has the judge and the rows that are scored on.
        memory: Real rows to compare with.
        most: Most values of a set.
        seed: Of the choice of rows and of the intervals.
    """

    def __init__(self, examiner: Examiner, memory: TrainingSet | None, *, most: int, seed: int):
        self.examiner, self.memory, self.most, self.seed = examiner, memory, most, seed
        self.training = None if memory is None else memory.training
        self._others: dict[str, Field] = {}

    def measure(self, own: Rows, to: str, real: Field, samples: Sequence[Field]) -> list[MetricResult]:
        """Quality and diversity.

        Args:
            own: The rows of the direction.
            to: Field that was generated.
            real: Its real values.
            samples: One or several for each row.
        """
        modality, made = own.fields[to], samples[0]
        others = self.others(to, own)
        if isinstance(modality, Label):
            return self._classes(own, to, made, modality, others)
        found = self._features(modality, to, real, made, others)
        if real.value.is_floating_point() and real.value.dim() > 2:
            found.append(_sharpness(real, made, others))
        found += self._spread(to, real, samples)
        if isinstance(modality, Text):
            found += self._distinct(modality, real, made, others)
        return found

    def others(self, to: str, own: Rows) -> Field | None:
        """As many other real values as there are rows, fewer if there are no more; None if there is none."""
        if self.training is None or to not in self.training.columns:
            return None
        if to not in self._others:
            order = np.random.default_rng([self.seed, 1]).permutation(np.flatnonzero(self.training.present[to]))
            rows = self.training.select(np.sort(order[: self.most])).only(to)
            self._others[to] = rows.decode(rows.batch(np.arange(len(rows))))[to]
        field = self._others[to]
        step = max(1.0, len(field) / max(len(own), 1))
        places = (torch.arange(min(len(own), len(field))) * step).long()
        return field.pick(places) if len(places) else None

    def _features(
        self, modality: object, to: str, real: Field, made: Field, others: Field | None
    ) -> list[MetricResult]:
        embed = self._embed
        true, ours = embed(to, real), embed(to, made)
        if true is None or ours is None or len(true) <= NEIGHBOURS:
            return []
        shuffled = embed(to, _shuffled(real, self.seed))
        fresh = embed(to, others) if others is not None and len(others) == len(real) else None
        assert shuffled is not None
        name = "Fréchet audio distance" if isinstance(modality, Audio) else "Fréchet distance"
        true, ours = true.double(), ours.double()
        outcomes = [
            of_the_set(
                name,
                lambda rows: frechet_distance(true, ours[rows]),
                len(ours),
                ceiling=None if fresh is None else frechet_distance(true, fresh),
                chance=frechet_distance(true, shuffled),
                higher_is_better=False,
                aspect="quality",
                least=0.0,
                seed=self.seed,
            ),
            self._kernel(true, ours, fresh, shuffled),
        ]
        known = self._reference(to)
        reference, own = (true, 1) if known is None else (known, 0)
        for metric, aspect, find in (
            ("precision", "quality", lambda x: within(reference, x, NEIGHBOURS)),
            ("coverage", "diversity", lambda x: covered(true, x, reference, NEIGHBOURS + own)),
        ):
            values, *bounds = (None if x is None else find(x).double().numpy() for x in (ours, fresh, shuffled))
            assert values is not None
            ceiling, chance = (None if bound is None else float(bound.mean()) for bound in bounds)
            if metric == "precision" and own == 0:  # the training rows are their own reference
                ceiling = float(find(true).double().mean())
            outcome = MetricResult(metric, np.arange(len(values)), values, None, ceiling, chance, is_right=False)
            outcomes.append(replace(outcome, aspect=aspect))  # type: ignore[arg-type]
        return outcomes

    def _embed(self, to: str, field: Field) -> Tensor | None:
        """Features (n, F) whose numbers are about of unit size, as the kernel expects."""
        return self._scaled(to, self.examiner.features(to, field))

    def _reference(self, to: str) -> Tensor | None:
        """Features of the distinct training values, whose neighbourhoods are narrower than those of a few rows."""
        if self.memory is None or to not in self.memory.training.columns:
            return None
        features = self._scaled(to, self.memory.features(to))
        return None if features is None or len(features) <= NEIGHBOURS else features

    def _scaled(self, to: str, features: Tensor | None) -> Tensor | None:
        judged = self.examiner.judge is not None and to in self.examiner.judge.modalities
        return features * features.shape[1] ** 0.5 if features is not None and judged else features

    def _kernel(self, true: Tensor, ours: Tensor, fresh: Tensor | None, shuffled: Tensor) -> MetricResult:
        """Without the kernel of a sample and its own row's real value, which are no independent draws.

        Source: Gretton et al., "A kernel two-sample test", 2012, equation 4, with the kernel of ``kernel_distance``.
        """
        n = len(true)

        def pairs(made: Tensor) -> np.ndarray:
            x, y = (values.double() / values.shape[1] ** 0.5 for values in (true, made))
            matrix = (x @ x.T + 1) ** 3 + (y @ y.T + 1) ** 3 - (x @ y.T + 1) ** 3 - (y @ x.T + 1) ** 3
            return matrix.fill_diagonal_(0).numpy()

        ours_by_pair = pairs(ours)

        def statistic(rows: np.ndarray) -> float:
            counts = np.bincount(rows, minlength=n).astype(float)
            return float(counts @ ours_by_pair @ counts / max(n * n - (counts**2).sum(), 1.0))

        bounds = [None if x is None else float(pairs(x).sum() / (n * (n - 1))) for x in (fresh, shuffled)]
        return of_the_set(
            "kernel distance",
            statistic,
            n,
            ceiling=bounds[0],
            chance=bounds[1],
            higher_is_better=False,
            aspect="quality",
            draws=400,
            seed=self.seed,
        )

    def _spread(self, to: str, real: Field, samples: Sequence[Field]) -> list[MetricResult]:
        """How far samples of one input lie apart, in units of how far real values of all inputs do."""
        if len(samples) < 2 or len(real) < 2:
            return []
        features = [self.examiner.features(to, sample) for sample in samples]
        true = self.examiner.features(to, real)
        if true is None or not all(x is not None for x in features):
            return []
        whole = float(torch.pdist(true.double()).mean())
        values = spread(torch.stack(features)).numpy() / max(whole, 1e-12)  # type: ignore[arg-type]
        every = np.arange(len(values))
        return [
            MetricResult("spread of an input's samples", every, values, None, None, 1.0, {}, False, None, "diversity")
        ]

    def _distinct(self, modality: Text, real: Field, made: Field, others: Field | None) -> list[MetricResult]:
        outputs = write(modality, made)
        n = 2 if np.mean([len(text.split()) for text in write(modality, real)]) >= 2 else 1
        fresh = None if others is None or len(others) < len(real) else distinct_n(write(modality, others), n)
        return [
            of_the_set(
                f"distinct-{n}",
                lambda rows: distinct_n([outputs[i] for i in rows], n),
                len(outputs),
                ceiling=distinct_n(write(modality, real), n) if fresh is None else fresh,
                chance=distinct_n(outputs[:1] * len(outputs), n),
                higher_is_better=None,
                aspect="diversity",
                least=0.0,
                most=1.0,
                seed=self.seed,
            )
        ]

    def _classes(self, own: Rows, to: str, made: Field, modality: Label, others: Field | None) -> list[MetricResult]:
        """Whether classes come as often as in the real rows, and whether all of them come."""
        true, ours = texts(own, to), write(modality, made)
        names = sorted({*true, *ours})
        fresh = None if others is None else write(modality, others)

        def shares(values: Sequence[str]) -> np.ndarray:
            return np.array([sum(v == name for v in values) for name in names]) / max(len(values), 1)

        real = shares(true)
        distance = of_the_set(
            "class share distance",
            lambda rows: float(np.abs(shares([ours[i] for i in rows]) - real).sum() / 2),
            len(ours),
            ceiling=None if fresh is None else float(np.abs(shares(fresh) - real).sum() / 2),
            chance=float(1 - real.max()),
            higher_is_better=False,
            aspect="quality",
            least=0.0,
            most=1.0,
            seed=self.seed,
        )
        reached = of_the_set(
            "classes reached",
            lambda rows: len({ours[i] for i in rows} & set(true)) / len(set(true)),
            len(ours),
            ceiling=1.0,
            chance=1 / len(set(true)),
            aspect="diversity",
            least=0.0,
            most=1.0,
            seed=self.seed,
        )
        return [distance, reached]


def _sharpness(real: Field, made: Field, others: Field | None) -> MetricResult:
    """Fine detail of the samples over that of their rows' real values."""
    true, ours = sharpness(real).numpy(), sharpness(made).numpy()
    ceiling = 1.0 if others is None else float(sharpness(others).mean() / max(true.mean(), 1e-12))
    return MetricResult("sharpness", np.arange(len(ours)), ours, true, ceiling, None, {}, False, None, "quality")


def _shuffled(field: Field, seed: int) -> Field:
    """Values each number of which comes from a row of its own choice."""
    flat = field.value.flatten(1)
    index = np.random.default_rng([seed, 2]).integers(len(flat), size=tuple(flat.shape))
    value = flat.gather(0, torch.from_numpy(index)).view_as(field.value)
    return field.with_value(value)
