"""Dynamic time warping."""

import torch
from torch import Tensor

_MOST_CELLS = 1 << 24
"""Of the matrices of distances that are held at a time."""


def dtw(first: Tensor, second: Tensor, lengths: Tensor, others: Tensor) -> Tensor:
    """(B,) least mean distance of steps that can be reached by warping time, over the steps of both series.

    Args:
        first: (B, C, T), of which each row has the first ``lengths`` steps.
        second: (B, C, S), of which each row has the first ``others`` steps.
        lengths: (B,), at least 1.
        others: (B,), at least 1.

    Source: Sakoe and Chiba, "Dynamic programming algorithm optimization for spoken word recognition", 1978, with
    symmetric steps of weight 1; every row is computed at once, one antidiagonal after another.
    """
    rows = max(1, _MOST_CELLS // (first.shape[2] * second.shape[2]))
    parts = zip(*(t.split(rows) for t in (first, second, lengths, others)), strict=True)
    return torch.cat([_dtw(*part) for part in parts]) / (lengths + others)


def _dtw(first: Tensor, second: Tensor, lengths: Tensor, others: Tensor) -> Tensor:
    cost = torch.cdist(first.double().mT, second.double().mT)  # (B, T, S)
    (batch, high, wide), device = cost.shape, cost.device
    place, never = torch.arange(high, device=device), torch.full((batch, 1), torch.inf, dtype=cost.dtype, device=device)
    before = last = never.expand(-1, high)
    result = torch.zeros(batch, dtype=cost.dtype, device=device)
    for diagonal in range(high + wide - 1):
        column = diagonal - place
        inside = (column >= 0) & (column < wide)
        # From (i, j) the steps before are (i, j - 1) and (i - 1, j) of the last antidiagonal and (i - 1, j - 1) of the
        # one before that.
        best = torch.minimum(last, torch.minimum(*(torch.cat([never, d[:, :-1]], 1) for d in (last, before))))
        best = best if diagonal else torch.zeros_like(best)
        now = torch.where(inside, best + cost[:, place, column.clamp(0, wide - 1)], torch.inf)
        ends = lengths + others - 2 == diagonal
        result = torch.where(ends, now.gather(1, (lengths - 1)[:, None])[:, 0], result)
        before, last = last, now
    return result
