"""What evaluation adds to labels: accuracy, and whether the classes come as often as they should."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import entropy

from polymodal.evaluation.kinds.base import Kind
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.generation import write
from polymodal.types import Field

_DRAWS = 400
"""Pairs of sets of labels that are drawn to tell what a perfect model scores, which depends on their number."""


class LabelKind(Kind):
    """A label is right if it is the row's own; sets of labels are compared by how often each class comes."""

    naming, classes, tower, exact_metric = 1, True, "text", "accuracy"

    def compare_sets(self, real: Field, made: Field) -> list[MetricResult]:
        """The distance of the classes' shares, and their effective number; both depend on the number of rows.

        Source: Jost, "Entropy and diversity", 2006, table 1 (the effective number).
        """
        true, ours = write(self.modality, real), write(self.modality, made)
        names, places = np.unique([*true, *ours], return_inverse=True)
        both = places.reshape(2, -1)  # of the real values and of what was made

        def counts(rows: np.ndarray) -> np.ndarray:
            return np.stack([np.bincount(its[rows], minlength=len(names)) for its in both])

        shares = counts(np.arange(len(true)))[0] / len(true)
        pairs = np.random.default_rng(0).multinomial(len(true), shares, size=(_DRAWS, 2))
        return [
            MetricResult.of_set(
                "class share distance", lambda rows: float(_distance(counts(rows))), len(ours), bounds=(0, 1),
                ceiling=float(_distance(pairs).mean()), chance=float(1 - shares.max()), higher_is_better=False,
                aspect="quality", resampling="pairs",
            ),
            MetricResult.of_set(
                "effective number of classes, over that of real rows", lambda rows: float(_variety(counts(rows))),
                len(ours), bounds=(0, math.inf), ceiling=1.0, chance=float(np.exp(-entropy(shares))),
                higher_is_better=None, aspect="diversity",
            ),
        ]  # fmt: skip


def _distance(counts: np.ndarray) -> np.ndarray:
    """Total variation of two sets' shares of classes, from counts (..., 2, classes)."""
    shares = counts / counts.sum(-1, keepdims=True)
    return np.abs(shares[..., 0, :] - shares[..., 1, :]).sum(-1) / 2


def _variety(counts: np.ndarray) -> np.ndarray:
    """Effective number of classes of the second set over that of the first."""
    first, second = entropy(counts, axis=-1)
    return np.exp(second - first)
