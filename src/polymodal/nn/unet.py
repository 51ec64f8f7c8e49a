"""A convolutional network from a grid to the same grid, through coarser ones: the network of most image diffusion.

Source: Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation", 2015; with
residual blocks that see the time: Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020, appendix B;
scale and shift after the second norm: Dhariwal and Nichol, "Diffusion models beat GANs on image synthesis", 2021.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.nn.conv import ChannelNorm, convolution, halving, modulated, shuffle
from polymodal.nn.layers import Linear
from polymodal.nn.patches import crop, pad_to_multiple


class TimedBlock(nn.Module):
    """x + conv(silu(modulated norm(conv(silu(norm(x)))))), the shortcut itself at the start.

    Args:
        inputs: Channels before.
        outputs: Channels after; where they differ, the shortcut is a convolution of one place.
        dims: 1 or 2.
        width: W, of the vector that the scale and the shift are made from.
    """

    def __init__(self, inputs: int, outputs: int, dims: int, width: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = ChannelNorm(inputs), ChannelNorm(outputs)
        self.conv_1 = convolution(inputs, outputs, dims)
        self.conv_2 = convolution(outputs, outputs, dims, zero=True)
        self.modulation = Linear(width, 2 * outputs, bias=True, zero=True)
        self.shortcut = convolution(inputs, outputs, dims, kernel=1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (B, inputs, *grid), vector (B, W) -> (B, outputs, *grid)."""
        h = self.conv_1(F.silu(self.norm_1(x)))
        return self.shortcut(x) + self.conv_2(F.silu(modulated(self.norm_2(h), self.modulation(vector))))


class UNet(nn.Module):
    """Cells of a grid -> cells of the same grid; a vector scales and shifts the norms of every level.

    A grid that cannot be halved so often is padded with zeros, and cut to its size on the way out.

    Args:
        features: Numbers of a cell, F.
        grid: Sides, one or two, in cells.
        width: W, of the vector.
        channels: Channels of each level, from the finest to the coarsest, each half as wide and high as the one before.
        blocks: Residual blocks on the way down and on the way up of each level; twice as many at the coarsest.

    Raises:
        ConfigError: The grid has other than one or two dimensions.
    """

    compiled = ("forward",)

    def __init__(
        self, features: int, grid: tuple[int, ...], width: int, channels: tuple[int, ...], blocks: int
    ) -> None:
        super().__init__()
        dims = len(grid)
        if dims not in (1, 2):
            raise ConfigError(f"channels: a U-Net has a grid of one or two dimensions; this has {dims}")
        self.grid, self.factor = grid, 2 ** (len(channels) - 1)

        def run(count: int, inputs: int, outputs: int) -> nn.ModuleList:
            sizes = [inputs] + [outputs] * count
            return nn.ModuleList(TimedBlock(a, b, dims, width) for a, b in zip(sizes, sizes[1:], strict=False))

        *levels, coarsest = channels
        self.proj_in = convolution(features, channels[0], dims)
        self.downs = nn.ModuleList(run(blocks, size, size) for size in levels)
        self.halvings = nn.ModuleList(halving(a, b, dims) for a, b in zip(levels, channels[1:], strict=True))
        self.middle = run(2 * blocks, coarsest, coarsest)
        self.doublings = nn.ModuleList(
            convolution(b, a * 2**dims, dims, kernel=1) for a, b in zip(levels, channels[1:], strict=True)
        )
        self.ups = nn.ModuleList(run(blocks, 2 * size, size) for size in levels)
        self.norm = ChannelNorm(channels[0])
        self.proj_out = convolution(channels[0], features, dims, zero=True)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (B, N, F), row by row, and vector (B, W) -> (B, N, F)."""
        h = x.view(len(x), *self.grid, -1).movedim(-1, 1)  # channels last in memory
        h = self.proj_in(pad_to_multiple(h, self.factor, len(self.grid)))
        kept = []
        for blocks, halve in zip(self.downs, self.halvings, strict=True):
            h = _through(blocks, h, vector)
            kept.append(h)
            h = halve(h)
        h = _through(self.middle, h, vector)
        for blocks, double in zip(reversed(self.ups), reversed(self.doublings), strict=True):
            h = _through(blocks, torch.cat([shuffle(double(h)), kept.pop()], dim=1), vector)
        return crop(self.proj_out(F.silu(self.norm(h))), self.grid).movedim(1, -1).flatten(1, -2)


def _through(blocks: Any, x: Tensor, vector: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, vector)
    return x
