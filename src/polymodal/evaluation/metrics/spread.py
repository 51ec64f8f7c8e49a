"""Spread: how far several samples of one input lie apart."""

from torch import Tensor


def spread(features: Tensor) -> Tensor:
    """Mean distance (B,) between every two of n samples, from features (n, B, F); n is at least 2."""
    rows = features.double().transpose(0, 1)
    count = rows.shape[1]
    return (rows[:, :, None] - rows[:, None]).norm(dim=-1).sum((1, 2)) / (count * (count - 1))
