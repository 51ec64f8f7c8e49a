"""What evaluation adds to series: how they follow the real ones of their rows, and features of sets."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.evaluation.kinds.base import Kind
from polymodal.evaluation.metrics import correlation, dtw, other_values, rmse
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.types import Field

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class SeriesKind(Kind):
    """Traces of sensors; errors are in units of the training rows' standard deviation."""

    def against(self, real: Field, made: Field) -> list[MetricResult]:
        """Correlation and error over the steps that both have, and the distance that warping time leaves.

        Chance is what the series of another row reaches.
        """
        longest = max(real.mask.shape[1], made.mask.shape[1])
        real, made = real.pad(longest), made.pad(longest)
        other = real.pick(torch.from_numpy(other_values(real)))

        def measured(other: Field) -> tuple[Tensor, Tensor, Tensor]:
            mask = real.mask & other.mask
            return (
                correlation(real.value, other.value, mask),
                rmse(real.value, other.value, mask),
                dtw(real.value, other.value, real.lengths, other.lengths),
            )

        names = (("correlation", 1.0, True), ("RMSE", 0.0, False), ("DTW distance", 0.0, False))
        return [
            MetricResult(
                name, ours.numpy(), ceiling=best, chance=float(theirs.mean()), higher_is_better=higher
            )
            for (name, best, higher), ours, theirs in zip(names, measured(made), measured(other), strict=True)
        ]  # fmt: skip

    def features(self, field: Field) -> Tensor:
        """(n, 9 C) of each channel: mean, deviation, five quantiles, mean size of a step's change, autocorrelation."""
        return torch.stack([_features(value) for value in field.values()])


def _features(value: Tensor) -> Tensor:
    """(C, L) -> (9 C,)."""
    value = value.float()
    change = value.diff(dim=1).abs().mean(1) if value.shape[1] > 1 else value.new_zeros(len(value))
    centred = value - value.mean(1, keepdim=True)
    power = centred.square().sum(1).clamp(min=1e-12)
    follows = (centred[:, 1:] * centred[:, :-1]).sum(1) / power
    quantiles = torch.quantile(value, value.new_tensor(_QUANTILES), dim=1)
    return torch.cat([value.mean(1), value.std(1, correction=0), *quantiles, change, follows])
