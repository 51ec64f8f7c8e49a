"""Log-spectral distance."""

import math

from torch import Tensor


def log_spectral_distance(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Decibels (B,): root mean square over the bands, mean over real frames, between sounds that run in step.

    Source: Gray and Markel, "Distance measures for speech processing", 1976.

    Args:
        first: Natural logarithms of magnitudes (B, bands, L).
        second: Natural logarithms of magnitudes (B, bands, L).
        mask: Real frames (B, L).
    """
    difference = 20 / math.log(10) * (first.double() - second.double())
    frames = difference.square().mean(1).sqrt()
    return (frames * mask).sum(1) / mask.sum(1).clamp(min=1)
