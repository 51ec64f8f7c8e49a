"""Sharpness: how much fine detail a picture or a spectrogram has."""

from torch import Tensor

from polymodal.types import Field


def sharpness(field: Field) -> Tensor:
    """Mean square of the second differences (B,) along the last two axes, which blurring takes away first.

    Source: the Laplacian focus measures of Pertuz, Puig and Garcia, "Analysis of focus measure operators", 2013.

    Args:
        field: Values (B, ..., H, W); where the last axis varies, its padding is left out.
    """
    value = field.value.double()
    value = value[:, None] if value.dim() == 3 else value
    down = (value[..., 2:, :] - 2 * value[..., 1:-1, :] + value[..., :-2, :]).square().mean((1, 2))
    along = (value[..., 2:] - 2 * value[..., 1:-1] + value[..., :-2]).square().mean((1, 2))
    mask = field.mask.expand(len(value), value.shape[-1])
    inside = mask[:, 2:] & mask[:, 1:-1] & mask[:, :-2]
    return (down * mask).sum(1) / mask.sum(1).clamp(min=1) + (along * inside).sum(1) / inside.sum(1).clamp(min=1)
