"""Sharpness: how much fine detail values on a grid have."""

from torch import Tensor

from polymodal.types import Field


def sharpness(field: Field) -> Tensor:
    """Mean square of the second differences (B,) along the last two axes, which blurring takes away first.

    Source: the Laplacian focus measures of Pertuz, Puig and Garcia, "Analysis of focus measure operators", 2013.

    Args:
        field: Values (B, ..., H, W), such as pictures and spectrograms. Padding along the axis that varies is left out.
    """
    value = field.value.double()
    value = value[:, None] if value.dim() == 3 else value
    varies = -1 if field.varies is None else field.varies + 1 - field.value.dim()
    others = [axis for axis in range(1, value.dim()) if axis != value.dim() + varies]
    real = field.mask.expand(len(value), value.shape[varies])
    total = value.new_zeros(len(value))
    for axis in (-2, -1):
        before, at, after = (value.narrow(axis, start, value.shape[axis] - 2) for start in range(3))
        bend = (after - 2 * at + before).square().mean(others)
        inside = real[:, 2:] & real[:, 1:-1] & real[:, :-2] if axis == varies else real
        total = total + (bend * inside).sum(1) / inside.sum(1).clamp(min=1)
    return total
