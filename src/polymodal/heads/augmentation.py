"""Random changes of all that a critic sees, real and generated values alike, for when data are scarce.

They do not leak into samples while their probability ``p`` stays well below 1. Every change is differentiable in the
value, keeps its scale, and is made to a row or not by the row's key.
Source: Karras et al., "Training generative adversarial networks with limited data", 2020; the choice of changes is
that of Zhao et al., "Differentiable augmentation for data-efficient GAN training", 2020.
"""

import torch
from torch import Tensor

from polymodal.nn.random import fold, uniform

SHIFT = 1 / 8
"""Furthest move, as a share of a side."""
CUTOUT = 1 / 2
"""Side of the square that is cut out of a picture, longest span that is cut out of a sound, as a share of a side."""
LIGHT = 0.4
"""Greatest change of brightness (values of about unit scale) and of the logarithm of contrast and of colour."""


def augment(value: Tensor, keys: Tensor, p: Tensor, *, flip: bool = False, lengths: Tensor | None = None) -> Tensor:
    """Pictures (B, C, H, W) or sounds (B, C, L), changed; vectors (B, C) as they are.

    Args:
        value: Real or generated.
        keys: (B,).
        p: Probability of each change, a scalar tensor.
        flip: Whether a picture may be mirrored.
        lengths: (B,) real positions of a sound.
    """
    if value.dim() == 4:
        return _picture(value, keys, p, flip)
    if value.dim() == 3:
        return _sound(value, keys, p, torch.full_like(keys, value.shape[-1]) if lengths is None else lengths)
    return value


def _chosen(keys: Tensor, stream: int, p: Tensor) -> Tensor:
    """(B,) which rows are changed."""
    return uniform(fold(keys, stream)) < p


def _symmetric(keys: Tensor, stream: int, limit: float) -> Tensor:
    """(B,) numbers in [-limit, limit)."""
    return (uniform(fold(keys, stream)) * 2 - 1) * limit


def _moved(value: Tensor, by: Tensor, dim: int, end: Tensor | int) -> Tensor:
    """Each row moved by ``by`` (B,) places along ``dim``; what enters repeats the edge, which lies before ``end``."""
    place = torch.arange(value.shape[dim], device=value.device)
    source = (place - by[:, None]).clamp(min=0)
    source = torch.minimum(source, end[:, None] - 1) if isinstance(end, Tensor) else source.clamp(max=end - 1)
    shape = [1] * value.dim()
    shape[0], shape[dim] = source.shape
    return value.gather(dim, source.view(shape).expand_as(value))


def _cut(keys: Tensor, stream: int, size: Tensor | int, side: int, p: Tensor) -> Tensor:
    """(B, side) True in a random span, for each row another, of the first ``size`` places."""
    u = uniform(fold(keys, stream), (2,)) if isinstance(size, Tensor) else uniform(fold(keys, stream), (1,))
    width = (u[:, 1] if isinstance(size, Tensor) else 1.0) * CUTOUT * size
    start = u[:, 0] * size - width / 2
    place = torch.arange(side, device=keys.device) + 0.5
    inside = (place >= start[:, None]) & (place < (start + width)[:, None])
    return inside & _chosen(keys, stream + 1, p)[:, None]


def _picture(value: Tensor, keys: Tensor, p: Tensor, flip: bool) -> Tensor:
    height, width = value.shape[2:]
    if flip:
        mirrored = _chosen(keys, 0, p / 2)[:, None, None, None]
        value = torch.where(mirrored, value.flip(3), value)
    for dim, side in ((2, height), (3, width)):
        by = (_symmetric(keys, dim, SHIFT * side) * _chosen(keys, 10 + dim, p)).round().long()
        value = _moved(value, by, dim, side)
    contrast = (_symmetric(keys, 20, LIGHT) * _chosen(keys, 21, p)).exp()[:, None, None, None]
    brightness = (_symmetric(keys, 22, LIGHT) * _chosen(keys, 23, p))[:, None, None, None]
    if value.shape[1] > 1:
        colour = (_symmetric(keys, 24, LIGHT) * _chosen(keys, 25, p)).exp()[:, None, None, None]
        grey = value.mean(1, keepdim=True)
        value = grey + (value - grey) * colour
    mean = value.mean((1, 2, 3), keepdim=True)
    value = mean + (value - mean) * contrast + brightness
    # Both spans are cut with one coin, which makes a square.
    rows = _cut(keys, 30, height, height, p)
    columns = _cut(fold(keys, 32), 30, width, width, torch.ones_like(p))
    return value.masked_fill((rows[:, :, None] & columns[:, None])[:, None], 0.0)


def _sound(value: Tensor, keys: Tensor, p: Tensor, lengths: Tensor) -> Tensor:
    by = (_symmetric(keys, 2, SHIFT) * lengths * _chosen(keys, 3, p)).round().long()
    moved = _moved(value, by, 2, lengths)
    mean = moved.mean(1, keepdim=True)
    span = _cut(keys, 30, lengths, value.shape[2], p)[:, None]
    band = _cut(fold(keys, 32), 30, torch.full_like(lengths, value.shape[1]), value.shape[1], p)[:, :, None]
    hidden = torch.where(span | band, mean, moved)
    real = torch.arange(value.shape[2], device=value.device) < lengths[:, None]
    return hidden * real[:, None]
