"""A convolutional autoencoder with a lightly regularised Gaussian code, for pictures, spectrograms and video."""

from collections.abc import Iterator

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Sides, Sizes
from polymodal.codecs.adversary import make_adversary, moved_by
from polymodal.codecs.base import Codec
from polymodal.codecs.convolutional import ConvolutionalAutoencoder, places, refusal, row_mean, usual_levels
from polymodal.nn.random import length_first
from polymodal.types import Field, Losses, Space


class KLAutoencoder(Codec):
    """Maps (channels, *grid) to (latent, *grid / factor), rounded up, factor = patch * 2 ** (levels - 1).

    Source: Rombach et al., "High-resolution image synthesis with latent diffusion models", 2022.

    Args:
        space: Continuous, a grid of one to three dimensions.
        latent: Channels of the code.
        channels: Channels of each level, from the finest to the coarsest.
        blocks: Residual blocks per level, on either side.
        patch: Side of the patches that the first convolution reads, or one for each axis. By default the factor is 4,
            or as large as leaves 256 places or fewer; that of a clip is 2, or as large as leaves 512.
        kl_weight: Of the divergence from the standard normal, per element of the code.
        edge_weight: Of the absolute error in differences of neighbours, which keeps edges sharp.
        noise: Standard deviation of the noise that the decoder learns to bear, where the code's own is about 1: what
            is generated later is never exact.
        adversarial: Weight of a critic's scores; see ``Adversary``.
        perceptual: Weight of the distance in that critic's features.

    Raises:
        ConfigError: The code is larger than what it codes, or an argument is out of its bounds.
    """

    def __init__(
        self,
        space: Space,
        *,
        latent: PositiveInt = 32,
        channels: Sizes | None = None,
        blocks: NonNegativeInt = 1,
        patch: Sides | None = None,
        kl_weight: NonNegativeFloat = 1e-4,
        edge_weight: NonNegativeFloat = 1.0,
        noise: NonNegativeFloat = 0.1,
        adversarial: NonNegativeFloat = 0.0,
        perceptual: NonNegativeFloat = 0.0,
    ):
        super().__init__()
        self.space, self.dims = space, len(space.grid)
        self.kl_weight, self.edge_weight, self.noise = kl_weight, edge_weight, noise
        self.sizes = usual_levels(space, channels, patch)
        self.network = ConvolutionalAutoencoder(space, latent, 2 * latent, blocks=blocks, **self.sizes)
        self.latent = Space("continuous", (latent, *self.network.grid), varies=space.varies)
        self.adversary = make_adversary(space, self.network.factor, adversarial, perceptual)
        self.players = ("critic", "model") if self.adversary else ("model",)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(()))

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return refusal(space)

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        return moved_by(player, self, self.adversary)

    def _moments(self, field: Field) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mean and log-variance of the code, and the mask of its places."""
        features, mask = self.network.analyse(field)
        mean, log_variance = features.chunk(2, dim=1)
        return mean, (log_variance - 6).clamp(-20, 10), mask

    def loss(self, target: Field, player: str, keys: Tensor) -> Losses:
        """``reconstruction``, ``edges``, ``kl`` and the critic's terms, each weighted, means per element of the row."""
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            mean, log_variance, mask = self._moments(target)
            scale = torch.exp(0.5 * log_variance) + self.noise
            noise = length_first(keys, mean.shape[1:])
            made = self.network.synthesise(mean + scale * noise, mask)
        value, real = self.network.real(target)
        if self.adversary and player == "critic":
            return self.adversary.loss(value, made, real, keys)
        losses = self.network.errors(made, value, real, self.edge_weight)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        weight = torch.ones_like(kl[:, :1]) if mask is None else mask.to(kl.dtype)
        losses["kl"] = self.kl_weight * row_mean(kl, weight)
        return losses | (self.adversary.advice(value, made, real) if self.adversary else {})

    def encode(self, field: Field) -> Field:
        mean, _, mask = self._moments(field)
        code = (mean - self.mean.view(1, -1, *[1] * self.dims)) / self.std
        if mask is None:
            return Field(code, field.mask, field.present)
        return Field(code * mask, mask.flatten(1), field.present, self.latent.varies)

    def decode(self, latent: Field) -> Field:
        return self.network.decode(latent.value * self.std + self.mean.view(1, -1, *[1] * self.dims), latent)

    @torch.no_grad()
    def initialise(self, fields: list[Field]) -> None:
        """Starts the linear part as the principal components of the patches, scaled to unit variance as a whole."""
        self.network.start_from_components(fields, whiten=False)

    @torch.no_grad()
    def calibrate(self, fields: list[Field]) -> dict[str, float]:
        """Sets mean and deviation of each channel of the code from training rows."""
        self.mean.zero_()
        self.std.fill_(1)
        codes = places([self.encode(field) for field in fields], self.space.variable)
        self.mean.copy_(codes.mean(0))
        self.std.copy_((codes - self.mean).square().mean().sqrt())
        return {}
