"""Pretrained codecs of Hugging Face: autoencoders of pictures, and codecs of sound."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import PositiveInt

from polymodal.codecs.base import Codec
from polymodal.codecs.pretrained_pictures import PictureAutoencoder
from polymodal.codecs.pretrained_sound import SoundAutoencoder
from polymodal.errors import ConfigError
from polymodal.modalities import Modality
from polymodal.pretrained import LazyNetwork, PretrainedSource
from polymodal.types import Field, Space


class PretrainedCodec(Codec):
    """A frozen autoencoder of diffusers for pictures, or codec of transformers for sound that is given as samples.

    It is not in memory before a value is encoded or decoded. What is decoded of sound is the sound itself, which needs
    no vocoder.

    Source: Rombach et al., "High-resolution image synthesis with latent diffusion models", 2022 (AutoencoderKL); Chen
    et al., "Deep compression autoencoder for efficient high-resolution diffusion models", 2025 (AutoencoderDC); for
    those of sound see ``SoundAutoencoder``.

    Args:
        space: That of a picture, whose sides are multiples of what the autoencoder divides them by, or of samples in
            frames.
        model: A folder with its ``config.json``, such as ``FOLDER/vae``, or as ``pretrained.places.find`` takes it.
        latent: What the head is given: ``continuous`` latents, or ``codes`` of sound, which are ids.
        codebooks: Of a codec of sound, how many of its codebooks count, from the first; all if not given.

    Raises:
        ConfigError: There is no such model, the sides are no multiples, or a picture is to have codes.
        CheckpointError: Its folder must not be read, or holds no model that is known.
    """

    trains = False

    def __init__(
        self,
        space: Space,
        *,
        model: str,
        latent: Literal["continuous", "codes"] = "continuous",
        codebooks: PositiveInt | None = None,
    ):
        super().__init__()
        self.space, sound = space, len(space.grid) == 1
        if not sound and (latent == "codes" or codebooks):
            raise ConfigError("latent: codes and codebooks are those of sound; leave them out for pictures")
        self.source = PretrainedSource(model, packages=("transformers" if sound else "diffusers",))
        self.reference = self.source.reference
        self._autoencoder: SoundAutoencoder | PictureAutoencoder
        if sound:
            self._autoencoder = SoundAutoencoder(space, self.source, latent, codebooks)
        else:
            self._autoencoder = PictureAutoencoder(space, self.source)
        self._network = LazyNetwork(self._autoencoder.load)
        self.latent = self._autoencoder.latent

    @property
    def digest(self) -> str:
        """Names the files of the model."""
        return self.source.digest

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        picture = len(space.grid) == 2 and not space.variable and space.channels in (1, 3) and space.bounds is not None
        sound = space.kind == "continuous" and len(space.grid) == 1 and space.variable and not space.is_set
        return None if picture or sound else "compresses pictures in colour or grey, and sound in the form of samples"

    def bind(self, modality: Modality) -> None:
        if isinstance(self._autoencoder, SoundAutoencoder):
            self._autoencoder.check(modality)

    def release(self) -> None:
        self._network.release()

    @torch.no_grad()
    def encode(self, field: Field) -> Field:
        return self._autoencoder.encode(self._on(field.value.device), field)

    @torch.no_grad()
    def decode(self, latent: Field) -> Field:
        return self._autoencoder.decode(self._on(latent.value.device), latent)

    def _on(self, device: torch.device) -> Any:
        """The network, loaded anew for another device, as some keep what they have computed of their weights."""
        if (network := self._network.network) is not None and next(network.parameters()).device != device:
            self._network.release()
        return self._network.on(device)
