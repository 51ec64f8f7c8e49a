"""Times and places as vectors."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.nn.layers import Linear


def sinusoidal(times: Tensor, width: int, *, longest: float = 10_000.0) -> Tensor:
    """Cosines and sines of ``times`` (B,) at ``width / 2`` frequencies from 1 to 1 / ``longest`` radians per unit.

    Source: Vaswani et al., "Attention is all you need" (2017), section 3.5.

    Returns:
        (B, width); the last is zero if ``width`` is odd.
    """
    half = width // 2
    steps = torch.arange(half, device=times.device, dtype=torch.float32)
    angles = times.float()[:, None] * torch.exp(-math.log(longest) / max(half - 1, 1) * steps)
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, width - 2 * half))


class TimeEmbedding(nn.Module):
    """Times of a flow (B,) in [0, 1] -> (B, width), by a small network on sinusoidal features."""

    def __init__(self, width: int, *, features: int = 256) -> None:
        super().__init__()
        self.features = features
        self.inner = Linear(features, width, bias=True)
        self.outer = Linear(width, width, bias=True)

    def forward(self, times: Tensor) -> Tensor:
        # A flow's times span one unit; features meant for positions span a thousand.
        return self.outer(F.silu(self.inner(sinusoidal(1000.0 * times, self.features).to(self.inner.weight.dtype))))


def grid_positions(grid: Sequence[int], width: int) -> Tensor:
    """Fixed sinusoidal position embeddings of a grid of 0 to 3 dimensions, row by row.

    Each dimension has an even share of the width of its own. A grid of no dimension is one place, all zeros.

    Returns:
        (product of ``grid``, width).
    """
    if not grid:
        return torch.zeros(1, width)
    share = width // len(grid) // 2 * 2
    places = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in grid], indexing="ij")
    parts = [sinusoidal(place.flatten(), share) for place in places]
    return F.pad(torch.cat(parts, dim=1), (0, width - share * len(grid)))
