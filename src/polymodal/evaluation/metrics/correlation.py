"""Correlation of series."""

import torch
from torch import Tensor


def correlation(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """(B,) Pearson's correlation over the real steps, the mean of all channels; 0 where a channel does not vary.

    Args:
        first: (B, C, L).
        second: (B, C, L).
        mask: (B, L), True where both have a step.
    """
    weight = mask[:, None].to(torch.float64)
    count = weight.sum(2, keepdim=True).clamp(min=1)
    first, second = first.double(), second.double()
    x, y = ((value - (value * weight).sum(2, keepdim=True) / count) * weight for value in (first, second))
    norms = x.square().sum(2).sqrt() * y.square().sum(2).sqrt()
    return torch.where(norms > 0, (x * y).sum(2) / norms.clamp(min=1e-300), 0.0).mean(1)
