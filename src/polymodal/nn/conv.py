"""Convolutional pieces of one or two dimensions, laid out channels-last, which is what is fast on a CPU.

A signal of one dimension is (B, C, L), one of two is (B, C, H, W). Norms are taken over the channels of one place, so
that nothing leaks between places but through a convolution; with ``mask`` (B, 1, L) the padding of a signal of one
dimension stays zero, which is also what a convolution pads with. A row is thus the same however long its batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.errors import ConfigError

CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}


def convolution(inputs: int, outputs: int, dims: int, *, kernel: int = 3, zero: bool = False) -> nn.Conv1d | nn.Conv2d:
    """A convolution that keeps the grid; with ``zero`` it starts as zero."""
    layer = CONVOLUTIONS[dims](inputs, outputs, kernel, padding=kernel // 2)
    weight = torch.zeros_like(layer.weight) if zero else layer.weight.detach()
    layer.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last) if dims == 2 else weight)
    if zero:
        layer.bias = nn.Parameter(torch.zeros(outputs))
    return layer


def halving(inputs: int, outputs: int, dims: int) -> nn.Conv1d | nn.Conv2d:
    """A convolution that halves every side of the grid."""
    layer = CONVOLUTIONS[dims](inputs, outputs, 4, stride=2, padding=1)
    if dims == 2:
        layer.weight = nn.Parameter(layer.weight.detach().contiguous(memory_format=torch.channels_last))
    return layer


def modulated(x: Tensor, modulation: Tensor) -> Tensor:
    """Channels of x (B, C, *grid), scaled and shifted by ``modulation`` (B, 2 * C): scales less one, then shifts.

    Source: Perez et al., "FiLM: visual reasoning with a general conditioning layer", 2018.
    """
    scale, shift = modulation.view(len(x), -1, *[1] * (x.dim() - 2)).chunk(2, dim=1)
    return torch.addcmul(shift, x, 1 + scale)


def hide(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x`` with zeros where ``mask`` is False."""
    return x if mask is None else x * mask


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
        dims: 1 or 2.
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


def unshuffle(x: Tensor, factor: int = 2) -> Tensor:
    """Space to channels: (B, C, *grid) -> (B, C * factor ** dims, *grid / factor), channels-last in memory."""
    rows, channels, *grid = x.shape
    if len(grid) == 1:
        y = x.transpose(1, 2).reshape(rows, grid[0] // factor, factor, channels).transpose(2, 3)
        return y.reshape(rows, grid[0] // factor, channels * factor).transpose(1, 2)
    return F.pixel_unshuffle(x, factor).contiguous(memory_format=torch.channels_last)


def shuffle(x: Tensor, factor: int = 2) -> Tensor:
    """Channels to space, the inverse of ``unshuffle``."""
    rows, channels, *grid = x.shape
    inner = channels // factor ** len(grid)
    if len(grid) == 1:
        y = x.transpose(1, 2).reshape(rows, grid[0], inner, factor).transpose(2, 3)
        return y.reshape(rows, grid[0] * factor, inner).transpose(1, 2)
    return F.pixel_shuffle(x, factor)


class Downsample(nn.Module):
    """Halves every dimension of the grid; what it loses in places it can keep in channels.

    Source: Chen et al., "Deep compression autoencoder" (2024), section 3.2: the residual path is space-to-channel with
    channel averaging.

    Args:
        inputs: Channels before; ``inputs * 2 ** dims`` is a multiple of ``outputs``.
        outputs: Channels after, a multiple of ``2 ** dims``.
        dims: 1 or 2.

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
        dims: 1 or 2.

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
