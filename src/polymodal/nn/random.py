"""Random numbers by key: every row draws from a stream of its own.

A row's numbers depend on its key alone: not on its place in the batch, the size of the batch, the number of
processes or what was drawn before. So sample k of a batch equals that sample generated alone, and two processes
draw what one would have drawn.

Source: the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014)
used as a counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical (zero-filling) right shift of signed 64-bit integers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def make_keys(seed: int, count: int, *, device: torch.device | str = "cpu", start: int = 0) -> Tensor:
    """Keys (count,) of samples ``start .. start + count`` of a seed."""
    index = torch.arange(start, start + count, device=device)
    return fold(_mix(torch.full_like(index, seed) + _GOLDEN), index)


def fold(keys: Tensor, number: int | Tensor) -> Tensor:
    """New keys (B,), independent of the old ones, for stream ``number`` (an integer or one per key)."""
    step = _GOLDEN * (number + 1)
    if isinstance(step, int):  # a tensor wraps around at 64 bits by itself
        step = (step + 2**63) % 2**64 - 2**63
    return _mix(keys + step)


def uniform(keys: Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Numbers in [0, 1) of shape (B, *shape), float32 with 24 random bits."""
    count = math.prod(shape)
    counter = torch.arange(1, count + 1, device=keys.device) * _GOLDEN
    bits = _shift(_mix(keys[:, None] + counter), 40)
    return (bits.to(torch.float32) * 2.0**-24).view(len(keys), *shape)


def open_uniform(keys: Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Numbers in (0, 1) of shape (B, *shape): the middles of 2^23 even parts, for logarithms and inverse distributions.

    Of ``uniform``'s 24 bits the last is dropped: below 1, 32-bit floats have no room for the middles of smaller parts,
    and the last of these would be rounded to 1.
    """
    return ((uniform(keys, shape) * 2.0**23).floor() + 0.5) * 2.0**-23


def choose(weights: Tensor, keys: Tensor) -> Tensor:
    """Places (B,) in the rows of ``weights`` (B, K) or (K,), drawn as often as they weigh; never one that weighs 0."""
    reach = weights.double().cumsum(-1)
    mark = uniform(keys).double()[:, None] * reach[..., -1:]  # below the last reach, whatever its rounding
    return (reach <= mark).sum(-1)


def fingerprints(values: Tensor) -> Tensor:
    """(B, 4) numbers that are equal where the rows of ``values`` (B, ...), floats or whole numbers, are.

    A row is the sum of its bits times random 64-bit numbers; of rows that differ, about one pair in 2^32 is taken for
    equal. Zeros at the end of a row change nothing. The four parts are whole numbers of 16 bits, which floats hold.
    """
    rows = values.flatten(1)
    bits = (rows.float() + 0.0).contiguous().view(torch.int32) if rows.is_floating_point() else rows  # -0 is 0
    place = torch.arange(1, rows.shape[1] + 1, device=rows.device)
    total = (bits.long() * _mix(place * _GOLDEN)).sum(1, keepdim=True)
    return ((total >> torch.arange(0, 64, 16, device=rows.device)) & 0xFFFF).to(torch.float32)


def normal(keys: Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Standard normal numbers of shape (B, *shape), by Box and Muller's transform.

    Number j of a row depends on its key and j alone, not on how many are drawn: padding changes nothing.
    """
    count = math.prod(shape)
    u = uniform(keys, ((count + 1) // 2, 2))
    radius = torch.sqrt(-2.0 * torch.log1p(-u[..., 0]))
    angle = (2.0 * math.pi) * u[..., 1]
    z = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1).flatten(1)
    return z[:, :count].reshape(len(keys), *shape)


def length_first(keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers (B, C, L, ...) of shape (C, L, ...), drawn along L first: it may be padded."""
    channels, length, *rest = shape
    return normal(keys, (length, channels, *rest)).transpose(1, 2)
