"""A critic that helps to train a codec: it scores how real each patch of a reconstruction looks."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from polymodal.codecs.convolutional import row_mean
from polymodal.nn.conv import Downsample, Factor, ResidualBlock, convolution, factors, hide, pool_real, unshuffle
from polymodal.nn.patches import pad_to_multiple
from polymodal.nn.random import fold, length_first
from polymodal.types import Losses, Space


class Adversary(nn.Module):
    """A convolutional critic without norms, with its loss and the terms that it adds to the loss of an autoencoder.

    Source: Isola et al., "Image-to-image translation with conditional adversarial networks", 2017 (a score per patch);
    Lim and Ye, "Geometric GAN", 2017 (hinge loss); Larsen et al., "Autoencoding beyond pixels using a learned
    similarity metric", 2016 (distance in the critic's features); Lin et al., "Diffusion adversarial post-training for
    one-step video generation", 2025, equation 4 (R1 from a difference, which needs no second backward pass).

    Args:
        space: Space of what it judges, a grid of one to three dimensions.
        factor: How much the codec compresses each axis. Its scores are of cells of these sides.
        adversarial: Weight of its scores in the autoencoder's loss.
        perceptual: Weight of the distance in its features.
    """

    compiled: tuple[str, ...] = ("forward",)
    CHANNELS = (32, 64)
    """Of the level that sees half a cell at a time, where a cell has a half, and of that which sees whole ones."""
    STEP = 0.1
    """Standard deviation of the noise from which the gradient is estimated."""
    PENALTY = 1.0
    """Weight of the squared gradient."""

    def __init__(self, space: Space, factor: Factor, adversarial: float, perceptual: float):
        super().__init__()
        dims = len(space.grid)
        sides = factors(factor, dims)
        self.adversarial, self.perceptual = adversarial, perceptual
        if space.variable:
            self.compiled = ()  # see nn.compilation
        channels = self.CHANNELS[1:] if any(side % 2 for side in sides) else self.CHANNELS
        self.factor, self.patch = sides, tuple(side // len(channels) for side in sides)
        self.proj_in = convolution(space.channels * math.prod(self.patch), channels[0], dims)
        self.blocks = nn.ModuleList(ResidualBlock(size, dims, norm=False) for size in channels)
        self.down = Downsample(*channels, dims) if len(channels) > 1 else None
        self.score = convolution(self.CHANNELS[-1], 1, dims, kernel=1)

    def forward(self, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        """Scores of the patches, above 0 where real.

        Args:
            value: (B, C, *grid); a length that varies is one of whole places of the codec.
            mask: (B, 1, L, ...) real positions where the length varies.

        Returns:
            Scores (B, 1, *g), the weights of their places, and features (B, c, *) with the weights of theirs.
        """
        value = pad_to_multiple(hide(value, mask), self.factor, value.dim() - 2)
        x, features = unshuffle(value, self.patch), []
        real = pool_real(mask, self.patch[0])
        x = hide(self.proj_in(x), real)
        for number, block in enumerate(self.blocks):
            if number and self.down:
                x = self.down(x, real)
                real = pool_real(real, 2)
            x = block(x, real)
            weight = torch.ones_like(x[:, :1]) if real is None else real.to(x.dtype)
            features.append((F.silu(x), weight))
        return self.score(features[-1][0]), features[-1][1], features

    def loss(self, real: Tensor, made: Tensor, mask: Tensor | None, keys: Tensor) -> Losses:
        """The critic's own move, (B,) each: ``real`` and ``fake`` hinges, and ``penalty`` on real values' gradients."""
        noise = length_first(fold(keys, 1), real.shape[1:])
        together = torch.cat([real, made.detach(), real + self.STEP * noise])
        scores, weight, _ = self(together, None if mask is None else torch.cat([mask] * 3))
        on_real, on_made, on_near = scores.chunk(3)
        weight = weight[: len(real)]
        slope = (on_near - on_real) / self.STEP
        return {
            "real": row_mean(F.relu(1 - on_real), weight),
            "fake": row_mean(F.relu(1 + on_made), weight),
            "penalty": self.PENALTY * row_mean(slope.square(), weight),
        }

    def advice(self, real: Tensor, made: Tensor, mask: Tensor | None) -> Losses:
        """Weighted terms (B,) of the autoencoder's move; the critic itself is not moved by them."""
        frozen = {name: parameter.detach() for name, parameter in self.named_parameters()}
        scores, weight, features = functional_call(self, frozen, (made, mask))
        losses = {}
        if self.adversarial:
            losses["adversarial"] = -self.adversarial * row_mean(scores, weight)
        if self.perceptual:
            with torch.no_grad():
                wanted = self(real, mask)[2]
            distances = [
                row_mean((x - y).abs(), w) / (row_mean(y.abs(), w) + 1e-3)
                for (x, w), (y, _) in zip(features, wanted, strict=True)
            ]
            losses["perceptual"] = self.perceptual * sum(distances[1:], distances[0]) / len(distances)
        return losses


def make_adversary(space: Space, factor: Factor, adversarial: float, perceptual: float) -> Adversary | None:
    """A critic if either weight asks for one."""
    return Adversary(space, factor, adversarial, perceptual) if adversarial or perceptual else None


def moved_by(player: str, codec: nn.Module, adversary: Adversary | None) -> Iterator[nn.Parameter]:
    """The parameters of a codec that ``player`` moves: the critic's own, or all others."""
    critics = set(adversary.parameters()) if adversary else set()
    if player in ("critic", "model"):
        yield from (p for p in codec.parameters() if (p in critics) == (player == "critic"))
