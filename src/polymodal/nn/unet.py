"""A convolutional network from a grid to the same grid, through coarser ones: the network of most image diffusion.

Source: Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation", 2015; with
residual blocks that see the time: Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020, appendix B;
scale and shift after the second norm: Dhariwal and Nichol, "Diffusion models beat GANs on image synthesis", 2021;
attention to the context where the grid is coarsest: Rombach et al., "High-resolution image synthesis with
latent diffusion models", 2022.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.nn.attention import Attention
from polymodal.nn.conv import ChannelNorm, convolution, halving, hide, modulated, pool_real, shuffle
from polymodal.nn.layers import Linear
from polymodal.nn.patches import crop, pad_to_multiple
from polymodal.types import spread_mask


class TimedBlock(nn.Module):
    """x + conv(silu(modulated norm(conv(silu(norm(x)))))), the shortcut itself at the start.

    Args:
        inputs: Channels before.
        outputs: Channels after; where they differ, the shortcut is a convolution of one place.
        dims: 1 to 3.
        width: W, of the vector that the scale and the shift are made from.
    """

    def __init__(self, inputs: int, outputs: int, dims: int, width: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = ChannelNorm(inputs), ChannelNorm(outputs)
        self.conv_1 = convolution(inputs, outputs, dims)
        self.conv_2 = convolution(outputs, outputs, dims, zero=True)
        self.modulation = Linear(width, 2 * outputs, bias=True, zero=True)
        self.shortcut = convolution(inputs, outputs, dims, kernel=1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, vector: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, inputs, *grid), vector (B, W), mask as of ``nn.conv`` -> (B, outputs, *grid)."""
        h = self.norm_2(self.conv_1(hide(F.silu(self.norm_1(x)), mask)))
        h = hide(F.silu(modulated(h, self.modulation(vector))), mask)
        return hide(self.shortcut(x) + self.conv_2(h), mask)


class CrossAttention(nn.Module):
    """x + attention(norm(x)) of the places of a grid to a context.

    Args:
        channels: C, of a place.
        heads: Attention heads; divides ``channels``.
        context_width: Width of the context.
    """

    def __init__(self, channels: int, heads: int, context_width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.attention = Attention(channels, heads, context_width=context_width)

    def forward(self, x: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        """x (B, C, *grid), and a context with its mask as of ``Attention`` -> (B, C, *grid)."""
        places = self.norm(x).flatten(2).mT
        return x + self.attention(places, context=context, mask=mask).mT.unflatten(2, x.shape[2:])


class Sketch(nn.Module):
    """A vector, drawn place by place on a coarse grid: what is where, which convolutions alone learn late.

    Args:
        width: W, of the vector.
        grid: Sides.
        channels: C, of what is drawn; it has a quarter of them before a convolution of one place.
    """

    def __init__(self, width: int, grid: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.grid, few = grid, max(1, channels // 4)
        self.linear = Linear(width, few * math.prod(grid), bias=True)
        self.spread = convolution(few, channels, len(grid), kernel=1, zero=True)

    def forward(self, vector: Tensor) -> Tensor:
        """(B, W) -> (B, C, *grid)."""
        return self.spread(self.linear(vector).unflatten(1, (*self.grid, -1)).movedim(-1, 1))


class UNet(nn.Module):
    """Cells of a grid -> cells of the same grid; a vector scales and shifts the norms of every level.

    A grid that cannot be halved so often is padded with zeros, and cut to its size on the way out. Where its first side
    varies, every convolution sees zeros behind the mask, as it does behind the edges.

    Args:
        features: Numbers of a cell, F.
        grid: Sides, one to three, in cells; of a value at its longest, where the first varies.
        width: W, of the vector.
        channels: Channels of each level, from the finest to the coarsest, each half as wide and high as the one before.
        blocks: Residual blocks on the way down and on the way up of each level; twice as many at the coarsest.
        context_width: C, of a context that the coarsest level attends to amid its blocks; None for none.
        heads: Attention heads there.
        sketch: Whether the coarsest level begins with a sketch of the vector, where no side varies.

    Raises:
        ConfigError: The grid has no dimensions, or more than three.
    """

    compiled = ("forward",)

    def __init__(
        self,
        features: int,
        grid: tuple[int, ...],
        width: int,
        channels: tuple[int, ...],
        blocks: int,
        *,
        context_width: int | None = None,
        heads: int = 4,
        sketch: bool = False,
    ) -> None:
        super().__init__()
        dims = len(grid)
        if not 1 <= dims <= 3:
            raise ConfigError(f"channels: a U-Net has a grid of one to three dimensions; this has {dims}")
        self.grid, self.factor = grid, 2 ** (len(channels) - 1)

        def run(count: int, inputs: int, outputs: int) -> nn.ModuleList:
            sizes = [inputs] + [outputs] * count
            return nn.ModuleList(TimedBlock(a, b, dims, width) for a, b in zip(sizes, sizes[1:], strict=False))

        *levels, coarsest = channels
        self.proj_in = convolution(features, channels[0], dims)
        self.downs = nn.ModuleList(run(blocks, size, size) for size in levels)
        self.halvings = nn.ModuleList(halving(a, b, dims) for a, b in zip(levels, channels[1:], strict=True))
        self.middle = run(2 * blocks, coarsest, coarsest)
        coarse = tuple(-(-side // self.factor) for side in grid)
        self.sketch = Sketch(width, coarse, coarsest) if sketch else None
        self.attention = None if context_width is None else CrossAttention(coarsest, heads, context_width)
        self.doublings = nn.ModuleList(
            convolution(b, a * 2**dims, dims, kernel=1) for a, b in zip(levels, channels[1:], strict=True)
        )
        self.ups = nn.ModuleList(run(blocks, 2 * size, size) for size in levels)
        self.norm = ChannelNorm(channels[0])
        self.proj_out = convolution(channels[0], features, dims, zero=True)

    def forward(
        self,
        x: Tensor,
        vector: Tensor,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """Cells to cells.

        Args:
            x: (B, N, F), row by row; N may be less than the grid has, if its first side varies.
            vector: (B, W).
            mask: (B, N) real cells, where the first side varies.
            context: (B, M, C), where the coarsest level attends to one; or (B / k, M, C), where every k rows share one.
            context_mask: (B, M) or (B / k, M) which of it is real.

        Returns:
            (B, N, F).
        """
        grid = (x.shape[1] // math.prod(self.grid[1:]), *self.grid[1:])
        h = x.reshape(len(x), *grid, -1).movedim(-1, 1)  # channels last in memory
        real = None
        if mask is not None:
            steps = pad_to_multiple(mask.view(len(x), grid[0], -1)[:, :, 0], self.factor)
            real = spread_mask(steps, h.dim(), 1)
        h = hide(self.proj_in(hide(pad_to_multiple(h, self.factor, len(grid)), real)), real)
        kept = []
        for blocks, halve in zip(self.downs, self.halvings, strict=True):
            h = _through(blocks, h, vector, real)
            kept.append((h, real))
            real = pool_real(real, 2)
            h = hide(halve(h), real)
        if self.sketch is not None:
            h = h + self.sketch(vector)
        half = len(self.middle) // 2
        h = _through(self.middle[:half], h, vector, real)
        if self.attention is not None:
            h = hide(self.attention(h, context, context_mask), real)
        h = _through(self.middle[half:], h, vector, real)
        for blocks, double in zip(reversed(self.ups), reversed(self.doublings), strict=True):
            finer, real = kept.pop()
            h = _through(blocks, hide(torch.cat([shuffle(double(h)), finer], dim=1), real), vector, real)
        return crop(self.proj_out(hide(F.silu(self.norm(h)), real)), grid).movedim(1, -1).flatten(1, -2)


def _through(blocks: Any, x: Tensor, vector: Tensor, mask: Tensor | None) -> Tensor:
    for block in blocks:
        x = block(x, vector, mask)
    return x
