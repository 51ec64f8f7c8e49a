"""Pretrained codecs of Hugging Face: autoencoders of pictures, as latent diffusion models have them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polymodal.codecs.base import Codec
from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import read_json
from polymodal.nn.bounds import clamp_to_bounds
from polymodal.pretrained import PretrainedSource
from polymodal.types import Field, Space

KINDS = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC")
"""Of diffusers."""


class PretrainedCodec(Codec):
    """A frozen autoencoder of diffusers, whose latents are scaled as its configuration says.

    It is not in memory before a picture is encoded or decoded. A picture in grey is given to it in three equal
    channels, of which the mean comes back.

    Source: Rombach et al., "High-resolution image synthesis with latent diffusion models", 2022 (AutoencoderKL); Chen
    et al., "Deep compression autoencoder for efficient high-resolution diffusion models", 2025 (AutoencoderDC).

    Args:
        space: That of a picture, whose sides are multiples of what the autoencoder divides them by.
        model: A folder with its ``config.json``, such as ``FOLDER/vae``, or as ``pretrained.places.find`` takes it.

    Raises:
        ConfigError: There is no such model, or the sides are no multiples.
        CheckpointError: Its folder must not be read, or holds no autoencoder that is known.
    """

    trains = False

    def __init__(self, space: Space, *, model: str):
        super().__init__()
        self.space, self.source = space, PretrainedSource(model, packages=("diffusers",))
        self.reference = self.source.reference
        self._network: tuple[Any, ...] = ()  # in a tuple it is no module of this one, whose weights are saved
        with torch.device("meta"), torch.no_grad():
            network: Any = self._load()
            latent = self._latent(network, torch.zeros(1, 3, *space.grid))
            back = network.decode(latent).sample
        if back.shape[2:] != space.grid:
            factor = back.shape[2] // latent.shape[2]
            raise ConfigError(
                f"model: {model} divides sides by {factor}; {' x '.join(map(str, space.grid))} pixels are no multiples"
            )
        config = network.config
        self.factor, self.shift = float(config.get("scaling_factor") or 1.0), float(config.get("shift_factor") or 0.0)
        self.latent = Space("continuous", tuple(latent.shape[1:]))

    @property
    def digest(self) -> str:
        """Names the files of the model."""
        return self.source.digest

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        picture = len(space.grid) == 2 and not space.variable and space.channels in (1, 3) and space.bounds is not None
        return None if picture else "compresses pictures in colour or grey"

    def release(self) -> None:
        self._network = ()

    @torch.no_grad()
    def encode(self, field: Field) -> Field:
        low, high = self.space.bounds or (-1.0, 1.0)
        x = (field.value.expand(-1, 3, -1, -1) - low) * (2 / (high - low)) - 1
        z = self._latent(self._on(x.device), x)
        return field.with_value((z - self.shift) * self.factor)

    @torch.no_grad()
    def decode(self, latent: Field) -> Field:
        low, high = self.space.bounds or (-1.0, 1.0)
        x = self._on(latent.value.device).decode(latent.value / self.factor + self.shift).sample
        x = x.mean(1, keepdim=True) if self.space.channels == 1 else x
        return latent.with_value(clamp_to_bounds((x + 1) * ((high - low) / 2) + low, self.space))

    def _latent(self, network: Any, x: Tensor) -> Tensor:
        """(B, C, H, W), not scaled: the mean where the autoencoder gives a distribution."""
        made = network.encode(x)
        for name in ("latents", "latent"):
            if hasattr(made, name):
                return getattr(made, name)
        return made.latent_dist.mode()

    def _on(self, device: torch.device) -> Any:
        if not self._network:
            self._network = (self._load(),)
        return self._network[0].to(device)

    def _load(self) -> Any:
        import diffusers

        try:
            kind = read_json(self.source.folder / "config.json").get("_class_name")
        except (ValueError, OSError, AttributeError):
            kind = None
        if kind not in KINDS:
            raise CheckpointError(f"{self.source.folder}: its config.json describes none of {', '.join(KINDS)}")
        return self.source.load(getattr(diffusers, kind))
