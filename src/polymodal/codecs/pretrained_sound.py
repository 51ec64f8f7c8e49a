"""Codecs of sound of transformers: samples <-> the latents or the codes of EnCodec, Mimi and DAC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from polymodal.errors import CheckpointError, ConfigError
from polymodal.modalities import Modality
from polymodal.nn.shapes import shapes_are_fixed
from polymodal.pretrained import PretrainedSource
from polymodal.types import Field, Space

SOUND_KINDS = ("encodec", "mimi", "dac")
"""Of transformers, by ``model_type``."""
_END, _FIRST = 1, 3
"""Codes begin at _FIRST and a sequence ends in _END, as in text; 0 pads."""
_FEWEST = 1e-6


class SoundAutoencoder:
    """The arithmetic around a codec of sound, which has a latent for each of its frames, and codes of that latent.

    Rows of one length are computed together, and none is padded: a network that looks ahead, or mirrors what is at the
    end, would hear the padding. As ids, the codes of a frame stand one after the other, and each codebook has ids of
    its own. Latents are those in front of the quantiser, and are quantised before they are decoded, since the decoder
    has learned from nothing else. Their scale is that of the codebooks, all of whose entries count alike.

    Source: Defossez et al., "High fidelity neural audio compression", 2022; Defossez et al., "Moshi", 2024 (Mimi);
    Kumar et al., "High-fidelity audio compression with improved RVQGAN", 2023 (DAC); the order of the ids is the
    flattening pattern of Copet et al., "Simple and controllable music generation", 2023, figure 1.

    Args:
        space: Samples in frames (hop_length, frames), the frames of any number.
        source: Where the codec is.
        latent: Whether the model's head is given ``continuous`` latents or ``codes``.
        codebooks: The first so many count; all if not given.

    Attributes:
        latent: Space of what the head is given.

    Raises:
        ConfigError: The codec has fewer codebooks, hears more than one channel, or needs more than codes to be decoded.
        CheckpointError: The source must not be read, or holds no codec that is known.
    """

    def __init__(
        self,
        space: Space,
        source: PretrainedSource,
        latent: Literal["continuous", "codes"],
        codebooks: int | None,
    ) -> None:
        config = source.config
        self.space, self.source, self.kind = space, source, config.model_type
        if self.kind not in SOUND_KINDS:
            raise CheckpointError(f"{source.folder}: its config.json describes none of {', '.join(SOUND_KINDS)}")
        if strange := _strange(config):
            raise ConfigError(
                f"model: {source.place} {strange}; take a codec of one channel that hears a sound as it is and as a "
                "whole, as EnCodec's of 24,000 samples per second, Mimi and DAC do"
            )
        self.hop = config.frame_size if self.kind == "mimi" else config.hop_length
        there = config.n_codebooks if self.kind == "dac" else config.num_quantizers
        fewest = config.num_semantic_quantizers if self.kind == "mimi" else 1
        self.codebooks, self.size, self.rate = codebooks or there, config.codebook_size, config.sampling_rate
        if not fewest <= self.codebooks <= there:
            raise ConfigError(
                f"codebooks: {codebooks} of {source.place}, which has {there}; {fewest} to {there} are right"
            )
        frames = -(-space.channels * space.max_length // self.hop)
        self.latent = Space("continuous", (config.hidden_size, frames), varies=1)
        if latent == "codes":
            self.latent = Space(
                "discrete", (self.codebooks * frames + 1,), self.codebooks * self.size + _FIRST, varies=0
            )

    def check(self, modality: Modality) -> None:
        """Refuses sound in another form.

        Raises:
            ConfigError: The model is not given samples, or they have another rate, or frames of another length.
        """
        if modality.waveform_hz is None:
            raise ConfigError(f"model: {self.source.place} hears samples; give the field form: samples")
        if modality.waveform_hz != self.rate:
            raise ConfigError(
                f"model: {self.source.place} hears {self.rate:,} samples per second, not {modality.waveform_hz:,}; "
                f"give the field sample_rate_hz: {self.rate}"
            )
        if self.hop % self.space.channels:
            usual = next(n for n in range(min(self.hop, 512), 0, -1) if self.hop % n == 0)
            raise ConfigError(
                f"model: {self.source.place} has frames of {self.hop:,} samples, which "
                f"hop_length={self.space.channels} does not divide; give the field hop_length: {usual}"
            )

    def load(self) -> Any:
        """The network."""
        from transformers import AutoModel

        return self.source.load(AutoModel)

    def encode(self, network: Any, field: Field) -> Field:
        """Samples in frames -> latents, or ids."""
        samples, frames = (field.value * field.real).mT.flatten(1), -(-field.lengths * self.space.channels // self.hop)
        mask = torch.arange(_longest(frames), device=samples.device) < frames[:, None]
        made = samples.new_zeros(len(field), self._width, mask.shape[1])
        for length, rows in _by_length(field.lengths):
            heard = samples[rows, None, : length * self.space.channels]
            z = self._analyse(network, pad(heard, (0, -heard.shape[2] % self.hop)))
            made[rows, :, : z.shape[2]] = self._codes(network, z).to(made) if self._discrete else z
        if not self._discrete:
            mean, std = self._scale(network)
            return _varying(field, (made - mean) / std, mask, 1)
        # Ids of a codebook come after those of the one before, so that each says which it is of.
        first = _FIRST + self.size * torch.arange(self.codebooks, device=made.device)
        ids = (made.long() + first[:, None]).mT.flatten(1)
        lengths = self.codebooks * frames[:, None]
        place = torch.arange(ids.shape[1] + 1, device=ids.device)
        ids = pad(ids, (0, 1)).where(place < lengths, 0).scatter(1, lengths, _END)
        return Field(ids, place <= lengths, field.present, 0)

    def decode(self, network: Any, latent: Field) -> Field:
        """Latents, or ids, -> samples in frames."""
        if self._discrete:
            # Whatever a head wrote, there is at least one frame, and the last one is whole.
            real = ((latent.value >= _FIRST) & latent.mask).long().cumprod(1)
            frames = (real.sum(1) // self.codebooks).clamp(min=1)
            width = _longest(frames) * self.codebooks
            ids = pad(latent.value * real, (0, self.codebooks))[:, :width]
            code = ((ids - _FIRST).clamp(min=0) % self.size).unflatten(1, (-1, self.codebooks)).mT
        else:
            mean, std = self._scale(network)
            frames, code = latent.lengths, latent.value * std + mean
        channels, most = self.space.channels, self.space.max_length
        lengths = (-(-frames * self.hop // channels)).clamp(max=most)
        mask = torch.arange(_longest(lengths), device=code.device) < lengths[:, None]
        samples = torch.zeros(len(latent), mask.shape[1] * channels, device=code.device)
        for length, rows in _by_length(frames):
            own = code[rows, :, :length]
            sound = self._synthesise(network, own if self._discrete else self._codes(network, own))[:, 0]
            sound = sound[:, : min(length * self.hop, samples.shape[1])]  # transposed convolutions may give a few less
            samples[rows, : sound.shape[1]] = sound
        return _varying(latent, samples.unflatten(1, (-1, channels)).mT, mask, 1)

    @property
    def _discrete(self) -> bool:
        return self.latent.kind == "discrete"

    @property
    def _width(self) -> int:
        return self.codebooks if self._discrete else self.latent.channels

    def _analyse(self, network: Any, samples: Tensor) -> Tensor:
        """(B, 1, T) -> latents (B, D, T / hop)."""
        made = network.encoder(samples)
        return made.latents if self.kind == "mimi" else made

    def _codes(self, network: Any, z: Tensor) -> Tensor:
        """Latents (B, D, L) -> codes (B, codebooks, L)."""
        if self.kind == "dac":
            return network.quantizer(z, self.codebooks)[1]
        if self.kind == "mimi":
            return network.quantizer.encode(z, self.codebooks).transpose(0, 1)
        return network.quantizer.encode(z)[: self.codebooks].transpose(0, 1)

    def _quantised(self, network: Any, codes: Tensor) -> Tensor:
        """Codes (B, codebooks, L) -> latents (B, D, L)."""
        if self.kind == "dac":
            return network.quantizer.from_codes(codes)[0]
        return network.quantizer.decode(codes if self.kind == "mimi" else codes.transpose(0, 1))

    def _synthesise(self, network: Any, codes: Tensor) -> Tensor:
        """Codes (B, codebooks, L) -> samples (B, 1, T)."""
        made = network.decoder(self._quantised(network, codes))
        return made.audio_values if self.kind == "mimi" else made

    def _scale(self, network: Any) -> tuple[Tensor, Tensor]:
        """Mean (D, 1) and one standard deviation of latents in which every entry of every codebook occurs once."""
        device = next(network.parameters()).device
        # Odd steps through a codebook, whose size is a power of 2, meet each entry once, and codebooks in other orders.
        steps = 2 * torch.arange(self.codebooks, device=device)[:, None] + 1
        z = self._quantised(network, (steps * torch.arange(self.size, device=device) % self.size)[None])[0]
        return z.mean(1, keepdim=True), z.var(1).mean().sqrt().clamp(min=_FEWEST)


def _strange(config: Any) -> str | None:
    """What a codec does that no field of sound has a place for, as EnCodec's of 48,000 samples per second does."""
    if (channels := getattr(config, "audio_channels", 1)) != 1:
        return f"hears {channels} channels, and a field of sound has one"
    if getattr(config, "normalize", False):
        return "divides a sound by its loudness, which its codes do not tell (normalize)"
    if getattr(config, "chunk_length_s", None) is not None:
        return f"cuts a sound into pieces of {config.chunk_length_s:g} s that overlap (chunk_length_s)"
    return None


def _longest(lengths: Tensor) -> int:
    """The greatest of lengths (B,), and at least 1."""
    return max(1, int(lengths.max()))


def _by_length(lengths: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each length above 0 that occurs, and the rows that have it, one by one where shapes are fixed."""
    for length in filter(None, lengths.unique().tolist()):
        rows = (lengths == length).nonzero()[:, 0]
        yield from ((length, part) for part in (rows.split(1) if shapes_are_fixed() else [rows]))


def _varying(rows: Field, value: Tensor, mask: Tensor, varies: int) -> Field:
    """Values of rows with lengths of their own, zero where they are not real."""
    made = Field(value, mask, rows.present, varies)
    return made.with_value(value)
