"""Convolutional pieces of one to three dimensions, laid out channels-last, which is what is fast on a CPU.

A signal of one dimension is (B, C, L), one of two is (B, C, H, W), one of three is (B, C, L, H, W). Norms are taken
over the channels of one place, so that nothing leaks between places but through a convolution; with ``mask`` (B, 1, L)
or (B, 1, L, 1, 1) the padding of a signal stays zero, which is also what a convolution pads with. A row is thus the
same however long its batch.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.nn.patches import pool_mask
from polymodal.types import spread_mask

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By number of axes of a tensor, how it lies in memory."""


def channels_last(x: Tensor) -> Tensor:
    """The same numbers, the channels of a place beside one another in memory, where that is a format of PyTorch's."""
    return x.contiguous(memory_format=_FORMATS[x.dim()]) if x.dim() in _FORMATS else x


def convolution(inputs: int, outputs: int, dims: int, *, kernel: int = 3, zero: bool = False) -> Convolution:
    """A convolution that keeps the grid; with ``zero`` it starts as zero."""
    layer = CONVOLUTIONS[dims](inputs, outputs, kernel, padding=kernel // 2)
    weight = torch.zeros_like(layer.weight) if zero else layer.weight.detach()
    layer.weight = nn.Parameter(channels_last(weight))
    if zero:
        layer.bias = nn.Parameter(torch.zeros(outputs))
    return layer


def halving(inputs: int, outputs: int, dims: int) -> Convolution:
    """A convolution that halves every side of the grid."""
    layer = CONVOLUTIONS[dims](inputs, outputs, 4, stride=2, padding=1)
    layer.weight = nn.Parameter(channels_last(layer.weight.detach()))
    return layer


def stem(inputs: int, channels: int, stages: int, outputs: int) -> nn.Sequential:
    """Convolutions of pictures (B, inputs, H, W), each of which halves the sides -> (B, outputs, ...).

    Args:
        inputs: Channels of a picture.
        channels: Channels of the first stage; each later stage has twice as many, at most ``outputs``.
        stages: Number of stages.
        outputs: Channels of the last stage.
    """
    sizes = [inputs, *(min(channels * 2**stage, outputs) for stage in range(stages - 1)), outputs]
    layers = nn.Sequential()
    for source, target in zip(sizes, sizes[1:], strict=False):
        layers.append(nn.Conv2d(source, target, 3, stride=2, padding=1))
        layers.append(nn.GroupNorm(math.gcd(8, target), target))
        layers.append(nn.SiLU())
    layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return layers


def modulated(x: Tensor, modulation: Tensor) -> Tensor:
    """Channels of x (B, C, *grid), scaled and shifted by ``modulation`` (B, 2 * C): scales less one, then shifts.

    Source: Perez et al., "FiLM: visual reasoning with a general conditioning layer", 2018.
    """
    scale, shift = modulation.view(len(x), -1, *[1] * (x.dim() - 2)).chunk(2, dim=1)
    return torch.addcmul(shift, x, 1 + scale)


def hide(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x`` with zeros where ``mask`` is False."""
    return x if mask is None else x * mask


def pool_real(mask: Tensor | None, factor: int) -> Tensor | None:
    """``mask`` of a signal, of places as long as ``factor``; None stays None."""
    return None if mask is None else spread_mask(pool_mask(mask.flatten(1), factor), mask.dim(), 1)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place of (B, C, *grid), without a bias."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), the identity at the start.

    Source: He et al., "Identity mappings in deep residual networks" (2016), figure 1b.

    Args:
        channels: C.
        dims: 1 to 3.
        norm: Whether it normalises. A critic does not, so that values of different strength differ to it.
    """

    def __init__(self, channels: int, dims: int, *, norm: bool = True) -> None:
        super().__init__()
        self.norm_1 = ChannelNorm(channels) if norm else nn.Identity()
        self.norm_2 = ChannelNorm(channels) if norm else nn.Identity()
        self.conv_1 = convolution(channels, channels, dims)
        self.conv_2 = convolution(channels, channels, dims, zero=True)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, *grid) -> (B, C, *grid)."""
        h = self.conv_1(F.silu(self.norm_1(x)))
        return x + hide(self.conv_2(hide(F.silu(self.norm_2(h)), mask)), mask)


Factor = int | tuple[int, ...]
"""Of each axis of a grid, or of all."""


def factors(factor: Factor, dims: int) -> tuple[int, ...]:
    """One for each axis."""
    return (factor,) * dims if isinstance(factor, int) else factor


def unshuffle(x: Tensor, factor: Factor = 2) -> Tensor:
    """Space to channels: (B, C, *grid) -> (B, C * product of factors, *grid / factor), channels-last in memory."""
    rows, channels, *grid = x.shape
    sides = factors(factor, len(grid))
    if len(grid) == 2 and sides[0] == sides[1]:
        return channels_last(F.pixel_unshuffle(x, sides[0]))
    cells = [length // side for length, side in zip(grid, sides, strict=True)]
    split = [number for pair in zip(cells, sides, strict=True) for number in pair]
    dims = range(len(grid))
    order = [0, *(1 + 2 * d for d in dims), 1 + 2 * len(grid), *(2 + 2 * d for d in dims)]
    y = x.movedim(1, -1).reshape(rows, *split, channels).permute(order)
    return y.reshape(rows, *cells, channels * math.prod(sides)).movedim(-1, 1)


def shuffle(x: Tensor, factor: Factor = 2) -> Tensor:
    """Channels to space, the inverse of ``unshuffle``."""
    rows, channels, *grid = x.shape
    sides = factors(factor, len(grid))
    if len(grid) == 2 and sides[0] == sides[1]:
        return F.pixel_shuffle(x, sides[0])
    dims = range(len(grid))
    order = [0, *(axis for d in dims for axis in (1 + d, 2 + len(grid) + d)), 1 + len(grid)]
    y = x.movedim(1, -1).reshape(rows, *grid, channels // math.prod(sides), *sides).permute(order)
    return y.reshape(rows, *(a * b for a, b in zip(grid, sides, strict=True)), -1).movedim(-1, 1)


class Downsample(nn.Module):
    """Halves every dimension of the grid; what it loses in places it can keep in channels.

    Source: Chen et al., "Deep compression autoencoder" (2024), section 3.2: the residual path is space-to-channel with
    channel averaging.

    Args:
        inputs: Channels before; ``inputs * 2 ** dims`` is a multiple of ``outputs``.
        outputs: Channels after, a multiple of ``2 ** dims``.
        dims: 1 to 3.

    Raises:
        ConfigError: They are no such multiples.
    """

    def __init__(self, inputs: int, outputs: int, dims: int) -> None:
        super().__init__()
        factor = 2**dims
        if outputs % factor or inputs * factor % outputs:
            right = f"a multiple of {factor} that divides {inputs * factor}"
            raise ConfigError(f"channels: {outputs} cannot follow {inputs}; {right} can")
        self.outputs = outputs
        self.conv = convolution(inputs, outputs // factor, dims)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, inputs, *grid) -> (B, outputs, *grid / 2); the grid is even, ``mask`` is of the grid before."""
        shortcut = unshuffle(x).unflatten(1, (self.outputs, -1)).mean(2)
        return unshuffle(hide(self.conv(x), mask)) + shortcut


class Upsample(nn.Module):
    """Doubles every dimension of the grid.

    Source: Chen et al., "Deep compression autoencoder" (2024), section 3.2: the residual path is channel-to-space with
    channel duplicating.

    Args:
        inputs: Channels before; divides ``outputs * 2 ** dims``.
        outputs: Channels after.
        dims: 1 to 3.

    Raises:
        ConfigError: They are no such divisor.
    """

    def __init__(self, inputs: int, outputs: int, dims: int) -> None:
        super().__init__()
        total = outputs * 2**dims
        if total % inputs:
            raise ConfigError(f"channels: {outputs} cannot follow {inputs}, which does not divide {total}")
        self.repeats = total // inputs
        self.conv = convolution(inputs, total, dims)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, inputs, *grid) -> (B, outputs, *grid * 2); ``mask`` is of the grid after."""
        return hide(shuffle(self.conv(x) + x.repeat_interleave(self.repeats, dim=1)), mask)
