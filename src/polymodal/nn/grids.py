"""Between one vector and a whole value: what GANs and VAEs draw and look at a picture, a sound or a vector with.

Shapes: B rows, W the vector's width, values (B, C, *grid) of 0, 1 or 2 dimensions. A grid that is no multiple of the
compression is padded with zeros on the way in, and cut to its size on the way out; one of which the last axis varies is
put out at its full length.
"""

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.nn.conv import (
    ChannelNorm,
    Downsample,
    ResidualBlock,
    Upsample,
    convolution,
    modulated,
    shuffle,
    unshuffle,
)
from polymodal.nn.layers import Linear, layer_norm
from polymodal.nn.patches import crop, halvings, pad_to_multiple
from polymodal.types import Space


def coarsest(space: Space, channels: tuple[int, ...], patch: int) -> tuple[int, ...]:
    """The grid in cells of the coarsest level, each side rounded up."""
    factor = patch * 2 ** (len(channels) - 1)
    return tuple(-(-side // factor) for side in space.grid)


def usual_levels(space: Space, channels: tuple[int, ...] | None, patch: int | None) -> dict[str, Any]:
    """``channels`` of each level, from the finest, and ``patch``, as a space has them where they are not given.

    The longest side is halved until 8 cells are left or fewer: by up to two further levels, then by the patch.
    """
    number = halvings((max(space.grid),), 8) if space.grid else 2
    if channels is None:
        channels = (32, 64, 128)[: max(0, number - (patch or 1).bit_length() + 1) + 1]
    return {"channels": channels, "patch": patch or 2 ** max(0, number - len(channels) + 1) if space.grid else 1}


class ModulatedBlock(nn.Module):
    """A residual block whose norm is scaled and shifted by a vector, so that every resolution depends on the vector.

    Source: Perez et al., "FiLM: visual reasoning with a general conditioning layer", 2018; as class-conditional batch
    norm in Miyato and Koyama, "cGANs with projection discriminator", 2018.

    Args:
        channels: C.
        dims: 1 or 2.
        width: W.
    """

    def __init__(self, channels: int, dims: int, width: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = ChannelNorm(channels), ChannelNorm(channels)
        self.conv_1 = convolution(channels, channels, dims)
        self.conv_2 = convolution(channels, channels, dims, zero=True)
        self.modulation = Linear(width, 2 * channels, bias=True, zero=True)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (B, C, *grid), vector (B, W) -> (B, C, *grid)."""
        h = self.conv_1(F.silu(modulated(self.norm_1(x), self.modulation(vector))))
        return x + self.conv_2(F.silu(self.norm_2(h)))


class GridDecoder(nn.Module):
    """A vector -> a value, by blocks from the coarsest grid to the finest that the vector modulates.

    Args:
        space: Continuous, of 0 to 2 dimensions.
        width: W.
        channels: Channels of each level, from the coarsest to the finest; of a vector, the widths of its layers.
        blocks: Residual blocks of each level.
        patch: Side of the patches that the last level puts out.
    """

    compiled = ("forward",)

    def __init__(self, space: Space, width: int, *, channels: tuple[int, ...], blocks: int, patch: int) -> None:
        super().__init__()
        self.dims, self.patch = len(space.grid), patch
        if self.dims == 0:
            widths = (width, *channels)
            self.layers = nn.ModuleList(Linear(a, b, bias=True) for a, b in zip(widths, channels, strict=False))
            self.norms = nn.ModuleList(layer_norm(b) for b in channels)
            self.proj_out: nn.Module = Linear(channels[-1], space.channels, bias=True)
            return
        self.grid, self.base = space.grid, coarsest(space, channels, patch)
        self.proj_in = Linear(width, channels[0] * math.prod(self.base), bias=True)
        self.levels, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, size in enumerate(channels):
            self.levels.append(nn.ModuleList(ModulatedBlock(size, self.dims, width) for _ in range(blocks)))
            if level + 1 < len(channels):
                self.ups.append(Upsample(size, channels[level + 1], self.dims))
        last = convolution(channels[-1], space.channels * patch**self.dims, self.dims)
        self.proj_out = nn.Sequential(ChannelNorm(channels[-1]), nn.SiLU(), last)

    def forward(self, vector: Tensor) -> Tensor:
        """(B, W) -> (B, C, *grid)."""
        if self.dims == 0:
            for layer, norm in zip(self.layers, self.norms, strict=True):
                vector = F.silu(norm(layer(vector)))
            return self.proj_out(vector)
        x = self.proj_in(vector).view(len(vector), *self.base, -1).movedim(-1, 1)  # channels last in memory
        for number, level in enumerate(self.levels):
            for block in level:  # type: ignore[attr-defined]
                x = block(x, vector)
            if number < len(self.ups):
                x = self.ups[number](x)
        return crop(shuffle(self.proj_out(x), self.patch), self.grid)


class GridEncoder(nn.Module):
    """A value -> a vector, through convolutions that halve the grid. It has no norm over rows: each is seen alone.

    Args:
        space: Continuous, of 0 to 2 dimensions and fixed sides.
        width: W.
        channels: Channels of each level, from the finest to the coarsest; of a vector, the widths of its layers.
        blocks: Residual blocks of each level.
        patch: Side of the patches that the first level reads.
    """

    compiled = ("forward",)

    def __init__(self, space: Space, width: int, *, channels: tuple[int, ...], blocks: int, patch: int) -> None:
        super().__init__()
        self.dims, self.patch = len(space.grid), patch
        if self.dims == 0:
            widths = (space.channels, *channels)
            self.layers = nn.ModuleList(Linear(a, b, bias=True) for a, b in zip(widths, channels, strict=False))
            self.proj_out = Linear(channels[-1], width, bias=True)
            return
        self.factor = patch * 2 ** (len(channels) - 1)
        self.proj_in = convolution(space.channels * patch**self.dims, channels[0], self.dims)
        self.levels, self.downs = nn.ModuleList(), nn.ModuleList()
        for level, size in enumerate(channels):
            self.levels.append(nn.ModuleList(ResidualBlock(size, self.dims) for _ in range(blocks)))
            if level + 1 < len(channels):
                self.downs.append(Downsample(size, channels[level + 1], self.dims))
        self.proj_out = Linear(channels[-1] * math.prod(coarsest(space, channels, patch)), width, bias=True)

    def forward(self, value: Tensor) -> Tensor:
        """Value (B, C, *grid) -> (B, W)."""
        if self.dims == 0:
            for layer in self.layers:
                value = F.silu(layer(value))
            return self.proj_out(value)
        x = self.proj_in(unshuffle(pad_to_multiple(value, self.factor, self.dims), self.patch))
        for number, level in enumerate(self.levels):
            for block in level:  # type: ignore[attr-defined]
                x = block(x)
            if number < len(self.downs):
                x = self.downs[number](x)
        return self.proj_out(F.silu(x).movedim(1, -1).flatten(1))


__all__ = ["GridDecoder", "GridEncoder", "ModulatedBlock", "coarsest", "usual_levels"]
