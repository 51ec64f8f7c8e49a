"""Peak signal-to-noise ratio."""

import torch
from torch import Tensor


def psnr(first: Tensor, second: Tensor, *, data_range: float = 2.0) -> Tensor:
    """Decibels (B,) of the range over the root mean square of the error, at most 100, of values (B, ...)."""
    error = (first.double() - second.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(data_range**2 / error.clamp(min=data_range**2 * 1e-10))
