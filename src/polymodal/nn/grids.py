"""Between one vector and a whole value: what GANs and VAEs draw and look at a picture, a sound or a vector with.

Shapes: B rows, W the vector's width, values (B, C, *grid) of 0, 1 or 2 dimensions. Where the last axis varies, values
are of its full length, padded to a multiple of the compression; ``canvas`` says how long.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.nn.conv import ChannelNorm, Downsample, Upsample, convolution, hide, modulated, shuffle, unshuffle
from polymodal.nn.layers import Linear, layer_norm
from polymodal.nn.patches import pad_to_multiple, pool_mask
from polymodal.types import Space


def canvas(space: Space, channels: tuple[int, ...], patch: int) -> tuple[int, ...]:
    """The grid with an axis that varies rounded up to whole cells of the coarsest level.

    Raises:
        ConfigError: A fixed side is not a multiple of them.
    """
    factor = patch * 2 ** (len(channels) - 1)
    if space.variable:
        return (*space.grid[:-1], -(-space.grid[-1] // factor) * factor)
    if any(side % factor for side in space.grid):
        grid = "x".join(map(str, space.grid))
        raise ConfigError(f"channels: the grid {grid} is not a multiple of the compression {factor}")
    return space.grid


class ModulatedBlock(nn.Module):
    """A residual block whose norm is scaled and shifted by a vector, so that the vector is heard at every resolution.

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
    """A vector -> a value: blocks from the coarsest grid to the finest, each told of the vector.

    Args:
        space: Continuous, of 0 to 2 dimensions.
        width: W.
        channels: Of each level, from the coarsest to the finest; of a vector, the widths of its layers.
        blocks: Residual blocks of each level.
        patch: Side of the patches that the last level puts out.
        outputs: Channels put out; those of the space if not given.

    Raises:
        ConfigError: The grid is not a multiple of the compression.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        channels: tuple[int, ...],
        blocks: int = 1,
        patch: int = 1,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.dims, self.patch = len(space.grid), patch
        outputs = outputs or space.channels
        if self.dims == 0:
            widths = (width, *channels)
            self.layers = nn.ModuleList(Linear(a, b, bias=True) for a, b in zip(widths, channels, strict=False))
            self.norms = nn.ModuleList(layer_norm(b) for b in channels)
            self.proj_out: nn.Module = Linear(channels[-1], outputs, bias=True)
            return
        self.canvas = canvas(space, channels, patch)
        factor = patch * 2 ** (len(channels) - 1)
        self.base = tuple(side // factor for side in self.canvas)
        cells = 1
        for side in self.base:
            cells *= side
        self.proj_in = Linear(width, channels[0] * cells, bias=True)
        self.levels, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, size in enumerate(channels):
            self.levels.append(nn.ModuleList(ModulatedBlock(size, self.dims, width) for _ in range(blocks)))
            if level + 1 < len(channels):
                self.ups.append(Upsample(size, channels[level + 1], self.dims))
        last = convolution(channels[-1], outputs * patch**self.dims, self.dims)
        self.proj_out = nn.Sequential(ChannelNorm(channels[-1]), nn.SiLU(), last)

    def forward(self, vector: Tensor) -> Tensor:
        """(B, W) -> (B, outputs, *canvas)."""
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
        return shuffle(self.proj_out(x), self.patch)


class GridEncoder(nn.Module):
    """A value -> a vector, through convolutions that halve the grid. It has no norm over rows: each is seen alone.

    Args:
        space: Continuous, of 0 to 2 dimensions.
        width: W.
        channels: Of each level, from the finest to the coarsest; of a vector, the widths of its layers.
        blocks: Residual blocks of each level.
        patch: Side of the patches that the first level reads.
        norm: Whether blocks normalise their input. A critic does without, so that it can tell strengths apart.
        inputs: Channels read; those of the space if not given.

    Raises:
        ConfigError: The grid is not a multiple of the compression.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        channels: tuple[int, ...],
        blocks: int = 1,
        patch: int = 1,
        norm: bool = True,
        inputs: int | None = None,
    ) -> None:
        super().__init__()
        self.dims, self.patch, self.variable = len(space.grid), patch, space.variable
        inputs = inputs or space.channels
        if self.dims == 0:
            widths = (inputs, *channels)
            self.layers = nn.ModuleList(Linear(a, b, bias=True) for a, b in zip(widths, channels, strict=False))
            self.proj_out = Linear(channels[-1], width, bias=True)
            return
        self.canvas = canvas(space, channels, patch)
        factor = patch * 2 ** (len(channels) - 1)
        cells = 1
        for side in self.canvas if not self.variable else self.canvas[:-1]:
            cells *= side // factor
        self.proj_in = convolution(inputs * patch**self.dims, channels[0], self.dims)
        self.levels, self.downs = nn.ModuleList(), nn.ModuleList()
        for level, size in enumerate(channels):
            self.levels.append(nn.ModuleList(PlainBlock(size, self.dims, norm) for _ in range(blocks)))
            if level + 1 < len(channels):
                self.downs.append(Downsample(size, channels[level + 1], self.dims))
        self.proj_out = Linear(channels[-1] * cells, width, bias=True)

    def forward(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Value (B, inputs, *grid) with mask (B, L) where its length varies -> (B, W)."""
        if self.dims == 0:
            for layer in self.layers:
                value = F.silu(layer(value))
            return self.proj_out(value)
        if self.variable:
            assert mask is not None
            factor = self.patch * 2 ** len(self.downs)
            value, mask = pad_to_multiple(value, factor), pad_to_multiple(mask, factor)
            shape = (len(value), *[1] * (self.dims), mask.shape[1])
            value = value * mask.view(shape)
            mask = pool_mask(mask, self.patch)
        x = unshuffle(value, self.patch)
        real = None if not self.variable else mask.view(len(value), *[1] * self.dims, -1)  # type: ignore[union-attr]
        x = hide(self.proj_in(x), real)
        for number, level in enumerate(self.levels):
            for block in level:  # type: ignore[attr-defined]
                x = block(x, real)
            if number < len(self.downs):
                x = self.downs[number](x, real)
                if real is not None:
                    real = pool_mask(real.flatten(1), 2).view(len(x), *[1] * self.dims, -1)
        x = F.silu(x)
        if real is None:
            return self.proj_out(x.movedim(1, -1).flatten(1))
        pooled = (x * real).sum(-1) / real.sum(-1)  # the mean over what is real of the axis that varies
        return self.proj_out(pooled.flatten(1))


class PlainBlock(nn.Module):
    """A residual block with or without norms, the identity at the start.

    Source: He et al., "Identity mappings in deep residual networks" (2016).

    Args:
        channels: C.
        dims: 1 or 2.
        norm: Whether it normalises.
    """

    def __init__(self, channels: int, dims: int, norm: bool) -> None:
        super().__init__()
        self.norm_1 = ChannelNorm(channels) if norm else nn.Identity()
        self.norm_2 = ChannelNorm(channels) if norm else nn.Identity()
        self.conv_1 = convolution(channels, channels, dims)
        self.conv_2 = convolution(channels, channels, dims, zero=True)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, *grid) -> (B, C, *grid)."""
        h = self.conv_1(F.silu(self.norm_1(x)))
        return x + hide(self.conv_2(hide(F.silu(self.norm_2(h)), mask)), mask)


__all__ = ["GridDecoder", "GridEncoder", "ModulatedBlock", "PlainBlock", "canvas"]
