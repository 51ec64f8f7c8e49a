"""Values held to the bounds of their space, so that what lies on one of them, such as a black background, is exact."""

from typing import Any

import torch
from torch import Tensor

from polymodal.types import Space


class _Hold(torch.autograd.Function):
    """A clamp whose gradient still leads what is beyond a bound back, but nothing further beyond it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        outwards = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))
        return gradient.masked_fill(outwards, 0.0), None, None


def clamp_to_bounds(x: Tensor, space: Space) -> Tensor:
    """``x`` (...) within the space's bounds; as it is where there are none."""
    if space.bounds is None:
        return x
    return _Hold.apply(x, *space.bounds) if torch.is_grad_enabled() else x.clamp(*space.bounds)
