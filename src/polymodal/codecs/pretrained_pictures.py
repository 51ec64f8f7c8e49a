"""Autoencoders of pictures of diffusers, as latent diffusion models have them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import read_json
from polymodal.nn.bounds import clamp_to_bounds
from polymodal.pretrained import PretrainedSource
from polymodal.types import Field, Space

PICTURE_KINDS = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC")
"""Of diffusers."""


class PictureAutoencoder:
    """The arithmetic around an autoencoder of diffusers, whose latents are scaled as its configuration says.

    Args:
        space: That of a picture, whose sides are multiples of what the autoencoder divides them by.
        source: Where the autoencoder is.

    Attributes:
        latent: Space of its latents.

    Raises:
        ConfigError: The sides are no multiples.
        CheckpointError: The source must not be read, or holds no autoencoder that is known.
    """

    def __init__(self, space: Space, source: PretrainedSource) -> None:
        self.space, self.source = space, source
        with torch.device("meta"), torch.no_grad():
            network = self.load()
            latent = _latent(network, torch.zeros(1, 3, *space.grid))
            back = network.decode(latent).sample
        if back.shape[2:] != space.grid:
            factor = back.shape[2] // latent.shape[2]
            raise ConfigError(
                f"model: {source.place} divides sides by {factor}; "
                f"{' x '.join(map(str, space.grid))} pixels are no multiples"
            )
        config = network.config
        self.factor, self.shift = float(config.get("scaling_factor") or 1.0), float(config.get("shift_factor") or 0.0)
        self.latent = Space("continuous", tuple(latent.shape[1:]))

    def encode(self, network: Any, field: Field) -> Field:
        """Pictures -> latents. A picture in grey is given in three equal channels."""
        low, high = self.space.bounds or (-1.0, 1.0)
        x = (field.value.expand(-1, 3, -1, -1) - low) * (2 / (high - low)) - 1
        return field.with_value((_latent(network, x) - self.shift) * self.factor)

    def decode(self, network: Any, latent: Field) -> Field:
        """Latents -> pictures; one in grey is the mean of the channels."""
        low, high = self.space.bounds or (-1.0, 1.0)
        x = network.decode(latent.value / self.factor + self.shift).sample
        x = x.mean(1, keepdim=True) if self.space.channels == 1 else x
        return latent.with_value(clamp_to_bounds((x + 1) * ((high - low) / 2) + low, self.space))

    def load(self) -> Any:
        """The network."""
        import diffusers

        try:
            kind = read_json(self.source.folder / "config.json").get("_class_name")
        except (ValueError, OSError, AttributeError):
            kind = None
        if kind not in PICTURE_KINDS:
            raise CheckpointError(f"{self.source.folder}: its config.json describes none of {', '.join(PICTURE_KINDS)}")
        return self.source.load(getattr(diffusers, kind))


def _latent(network: Any, x: Tensor) -> Tensor:
    """(B, C, H, W), not scaled: the mean where the autoencoder gives a distribution."""
    made = network.encode(x)
    for name in ("latents", "latent"):
        if hasattr(made, name):
            return getattr(made, name)
    return made.latent_dist.mode()
