"""Deep convolutional generator and critic: one convolution per level, which is what two cores can afford many steps of.

Shapes: B rows, W a vector's width, values (B, C, *grid) of 0, 1 or 2 dimensions; the finest grid is of patches. A grid
that is no multiple of the compression is padded with zeros on the way in and cut to its size on the way out. Where the
last axis varies, values are made at its full length and read with a mask. No row is seen beside another.

Source: Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks", 2016, section 3, but for batch norm, which mixes rows. A step costs a third of what it does with
the residual levels of ``nn.grids`` and the same channels.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.nn.bounds import clamp_to_bounds
from polymodal.nn.conv import ChannelNorm, convolution, halving, hide, modulated, shuffle, unshuffle
from polymodal.nn.grids import coarsest
from polymodal.nn.layers import Linear, layer_norm
from polymodal.nn.patches import crop, pad_to_multiple, pool_mask
from polymodal.types import Space

SLOPE = 0.2
"""Of a leaky rectifier below 0. Its second derivative is zero, so that a gradient penalty costs less."""


def leaky(x: Tensor) -> Tensor:
    """Leaky rectifier."""
    return F.leaky_relu(x, SLOPE)


class Modulated(nn.Module):
    """A norm over channels, scaled and shifted by a vector, then a rectifier, then a convolution.

    Args:
        inputs: Channels before.
        outputs: Channels after.
        dims: 1 or 2.
        width: W.
        zero: The convolution starts as zero.
    """

    def __init__(self, inputs: int, outputs: int, dims: int, width: int, *, zero: bool = False) -> None:
        super().__init__()
        self.norm = ChannelNorm(inputs)
        self.modulation = Linear(width, 2 * inputs, bias=True, zero=True)
        self.conv = convolution(inputs, outputs, dims, zero=zero)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (B, inputs, *grid), vector (B, W) -> (B, outputs, *grid)."""
        return self.conv(leaky(modulated(self.norm(x), self.modulation(vector))))


class ConvolutionalGenerator(nn.Module):
    """A vector -> a value. The vector scales and shifts the norms of every level.

    Args:
        space: Continuous, of 0 to 2 dimensions.
        width: W.
        channels: Channels of each level, from the coarsest to the finest; of a vector, the widths of its layers.
        blocks: Residual convolutions of each level besides the one that leaves it.
        patch: Side of the patches that the finest level puts out.
    """

    compiled: tuple[str, ...] = ("forward",)

    def __init__(self, space: Space, width: int, *, channels: tuple[int, ...], blocks: int, patch: int) -> None:
        super().__init__()
        self.space = space
        dims = self.dims = len(space.grid)
        if not dims:
            widths = (width, *channels)
            self.layers = nn.ModuleList(Linear(a, b, bias=True) for a, b in zip(widths, channels, strict=False))
            self.norms = nn.ModuleList(layer_norm(b) for b in channels)
            self.proj_out = Linear(channels[-1], space.channels, bias=True)
            return
        self.base = coarsest(space, channels, patch)
        self.proj_in = Linear(width, channels[0] * math.prod(self.base), bias=True)
        self.factors = (*[2] * (len(channels) - 1), patch)
        self.blocks, self.levels = nn.ModuleList(), nn.ModuleList()
        for size, after, by in zip(channels, (*channels[1:], space.channels), self.factors, strict=True):
            self.blocks.append(nn.ModuleList(Modulated(size, size, dims, width, zero=True) for _ in range(blocks)))
            self.levels.append(Modulated(size, after * by**dims, dims, width))

    def forward(self, vector: Tensor) -> Tensor:
        """(B, W) -> (B, C, *grid), within the space's bounds."""
        if not self.dims:
            for layer, norm in zip(self.layers, self.norms, strict=True):
                vector = leaky(norm(layer(vector)))
            return clamp_to_bounds(self.proj_out(vector), self.space)
        x = self.proj_in(vector).view(len(vector), *self.base, -1).movedim(-1, 1)  # channels last in memory
        for blocks, level, factor in zip(self.blocks, self.levels, self.factors, strict=True):
            for block in blocks:  # type: ignore[attr-defined]
                x = x + block(x, vector)
            x = shuffle(level(x, vector), factor)
        return clamp_to_bounds(crop(x, self.space.grid), self.space)


class ConvolutionalCritic(nn.Module):
    """A value -> a vector. There is no norm, so that values of different strength give different vectors.

    Args:
        space: Continuous, of 0 to 2 dimensions.
        width: W.
        channels: Channels of each level, from the finest to the coarsest; of a vector, the widths of its layers.
        blocks: Residual convolutions of each level besides the one that enters it.
        patch: Side of the patches that the finest level reads.
    """

    compiled: tuple[str, ...] = ("forward",)

    def __init__(self, space: Space, width: int, *, channels: tuple[int, ...], blocks: int, patch: int) -> None:
        super().__init__()
        dims = self.dims = len(space.grid)
        self.patch, self.variable = patch, space.variable
        if space.variable:
            self.compiled = ()  # see nn.compilation
        if not dims:
            widths = (space.channels, *channels)
            self.layers = nn.ModuleList(Linear(a, b, bias=True) for a, b in zip(widths, channels, strict=False))
            self.proj_out = Linear(channels[-1], width, bias=True)
            return
        self.factor = patch * 2 ** (len(channels) - 1)
        cells = math.prod(coarsest(space, channels, patch)[: -1 if self.variable else None])
        self.levels, self.blocks = nn.ModuleList(), nn.ModuleList()
        before = space.channels * patch**dims
        for number, size in enumerate(channels):
            self.levels.append(halving(before, size, dims) if number else convolution(before, size, dims))
            self.blocks.append(nn.ModuleList(convolution(size, size, dims) for _ in range(blocks)))
            before = size
        self.proj_out = Linear(before * cells, width, bias=True)

    def forward(self, value: Tensor, mask: Tensor) -> Tensor:
        """Value (B, C, *grid) with the mask (B, L) of its varying axis -> (B, W)."""
        if not self.dims:
            for layer in self.layers:
                value = leaky(layer(value))
            return self.proj_out(value)
        real, value = None, pad_to_multiple(value, self.factor, self.dims)
        if self.variable:
            mask = pad_to_multiple(mask, self.factor)
            value = value * self._spread(mask)
            mask = pool_mask(mask, self.patch)
            real = self._spread(mask)
        x = unshuffle(value, self.patch)
        for number, (level, blocks) in enumerate(zip(self.levels, self.blocks, strict=True)):
            if number and real is not None:
                mask = pool_mask(mask, 2)
                real = self._spread(mask)
            x = hide(leaky(level(x)), real)
            for block in blocks:  # type: ignore[attr-defined]
                x = hide(leaky(x + block(x)), real)
        if real is None:
            return self.proj_out(x.movedim(1, -1).flatten(1))
        return self.proj_out(((x * real).sum(-1) / real.sum(-1)).flatten(1))  # the mean over what is real

    def _spread(self, mask: Tensor) -> Tensor:
        return mask.view(len(mask), *[1] * self.dims, -1)
