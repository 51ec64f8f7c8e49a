"""What evaluation adds to labels: accuracy, and whether the classes come as often as they should."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.evaluation.kinds.base import Kind
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.generation import write
from polymodal.types import Field


class LabelKind(Kind):
    """A label is right if it is the row's own; sets of labels are compared by how often each class comes."""

    naming, classes, tower, exact_metric = 1, True, "text", "accuracy"

    def compare_sets(self, real: Field, made: Field, others: Field | None, seed: int) -> list[MetricResult]:
        true, ours = write(self.modality, real), write(self.modality, made)
        names, present = sorted({*true, *ours}), set(true)

        def shares(values: Sequence[str]) -> np.ndarray:
            return np.array([sum(value == name for value in values) for name in names]) / max(len(values), 1)

        wanted = shares(true)

        def distance(values: Sequence[str]) -> float:
            return float(np.abs(shares(values) - wanted).sum() / 2)

        def reached(values: Sequence[str]) -> float:
            return len({*values} & present) / len(present)

        best = None if others is None else distance(write(self.modality, others))
        return [
            MetricResult.of_set(
                "class share distance", lambda rows: distance([ours[i] for i in rows]), len(ours), bounds=(0, 1),
                ceiling=best, chance=float(1 - wanted.max()), higher_is_better=False, aspect="quality", seed=seed,
            ),
            MetricResult.of_set(
                "classes reached", lambda rows: reached([ours[i] for i in rows]), len(ours), bounds=(0, 1),
                ceiling=1.0, chance=1 / len(present), aspect="diversity", seed=seed,
            ),
        ]  # fmt: skip
