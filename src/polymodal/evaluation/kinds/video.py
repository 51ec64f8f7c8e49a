"""What evaluation adds to video: SSIM and PSNR of frames of reconstructions, and how much moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from polymodal.evaluation.kinds.base import Kind
from polymodal.evaluation.metrics import psnr, ssim
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.types import Field


class VideoKind(Kind):
    """Clips, of which only a judge can say whether they are right."""

    fine_detail, frechet_metric = True, "Fréchet video distance (judge's features)"

    def compare_sets(self, real: Field, made: Field) -> list[MetricResult]:
        """``movement``: change from frame to frame beside that of real clips; 0 of stills, above 1 of what flickers.

        The change of a clip is the mean absolute difference of neighbouring frames, in units of the range.
        """
        wanted = float(movement(real).mean())
        if not wanted:
            return []
        ours = movement(made).numpy() / wanted
        return [
            MetricResult.of_set(
                "movement, over real", lambda rows: float(np.mean(ours[rows])), len(ours), bounds=(0, np.inf),
                ceiling=1.0, chance=0.0, higher_is_better=None, aspect="quality",
            )
        ]  # fmt: skip

    def reconstruction(self, real: Field, copy: Field, other: Field) -> list[MetricResult]:
        return [
            MetricResult(
                f"{name} of frames", per_clip(metric, real, copy, real.mask).numpy(), ceiling=best,
                chance=float(per_clip(metric, real, other, real.mask & other.mask).mean()), aspect="reconstruction",
            )
            for name, metric, best in (("SSIM", ssim, 1.0), ("PSNR, dB", psnr, 100.0))
        ]  # fmt: skip


def movement(field: Field) -> Tensor:
    """(B,) half the mean absolute difference of neighbouring frames of clips (B, C, T, H, W); 0 of a still."""
    value = field.value.double()
    if value.shape[2] < 2:
        return value.new_zeros(len(value))
    change = value.diff(dim=2).abs().mean((1, 3, 4)) / 2
    return _mean(change, field.mask[:, 1:] & field.mask[:, :-1])


def per_clip(metric: Callable[[Tensor, Tensor], Tensor], first: Field, second: Field, mask: Tensor) -> Tensor:
    """(B,) mean of a metric of pictures over the frames of clips (B, C, T, H, W) where ``mask`` (B, T) is True."""
    length = min(first.value.shape[2], second.value.shape[2])
    one, other = (field.value[:, :, :length].transpose(1, 2).flatten(0, 1) for field in (first, second))
    return _mean(metric(one, other).view(-1, length), mask[:, :length])


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask).sum(1) / mask.sum(1).clamp(min=1)
