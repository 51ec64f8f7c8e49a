"""Root mean squared error of series."""

from torch import Tensor


def rmse(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """(B,) root of the mean squared difference (B, C, L) over the real steps (B, L) and all channels."""
    squares = (first.double() - second.double()).square().mean(1) * mask
    return (squares.sum(1) / mask.sum(1).clamp(min=1)).sqrt()
