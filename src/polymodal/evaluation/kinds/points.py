"""What evaluation adds to shapes: the Chamfer distance, and by it the distances of sets of shapes."""

from __future__ import annotations

import math

import numpy as np
import torch

from polymodal.evaluation.kinds.base import Kind
from polymodal.evaluation.metrics.others import other_values
from polymodal.evaluation.metrics.point_sets import (
    chamfer_distance,
    chamfer_matrix,
    matched_share,
    matching_distance,
    nearest_neighbour_accuracy,
)
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.types import Field

POINTS = 512
"""Of each shape, evenly apart; the benchmark takes all."""
SHAPES = 200
"""Of a set, at most."""


class PointsKind(Kind):
    """Shapes as sets of points, in units of their own scale; the scale is apart."""

    @property
    def step(self) -> int:
        """Of the points that are compared, one of so many."""
        return -(-self.space.shape[1] // POINTS)

    def against(self, real: Field, made: Field) -> list[MetricResult]:
        """Distance to the row's own shape; chance is that of another shape."""
        true, ours = (field.value[:, :3, :: self.step] for field in (real, made))
        own = chamfer_distance(true, ours).double().numpy()
        chance = float(chamfer_distance(true, true[other_values(real)]).mean())
        return [MetricResult("Chamfer distance", own, ceiling=0.0, chance=chance, higher_is_better=False)]

    def compare_sets(self, real: Field, made: Field) -> list[MetricResult]:
        """1-NNA, MMD and COV; the ceiling is of two halves of the real shapes."""
        many = min(len(real), len(made), SHAPES)
        results: list[MetricResult] = []
        if many < 2:
            return results
        true, ours = (field.value[:many, :3, :: self.step] for field in (real, made))
        within_real, between, within_made = (
            chamfer_matrix(a, b) for a, b in ((true, true), (true, ours), (ours, ours))
        )
        best: dict[str, float | None] = dict.fromkeys(("1-NNA", "MMD", "COV"))
        if half := many // 2:
            first, second = slice(half), slice(half, 2 * half)
            across = within_real[first, second]
            best["1-NNA"] = nearest_neighbour_accuracy(within_real[first, first], across, within_real[second, second])
            best["MMD"], best["COV"] = matching_distance(across), matched_share(across)

        def accuracy(rows: np.ndarray) -> float:
            places = torch.from_numpy(np.unique(rows))
            inner = within_made[places][:, places]
            return nearest_neighbour_accuracy(within_real, between[:, places], inner)

        def distance(rows: np.ndarray) -> float:
            return matching_distance(between[:, torch.from_numpy(rows)])

        def share(rows: np.ndarray) -> float:
            return matched_share(between[:, torch.from_numpy(rows)])

        for name, statistic, bounds, better, aspect in (
            ("1-NNA", accuracy, (0.0, 1.0), None, "quality"),
            ("MMD", distance, (0.0, math.inf), False, "quality"),
            ("COV", share, (0.0, 1.0), True, "diversity"),
        ):
            results.append(
                MetricResult.of_set(
                    name, statistic, many, bounds=bounds, ceiling=best[name], higher_is_better=better, aspect=aspect,
                    resampling="pairs",
                )
            )  # fmt: skip
        return results
