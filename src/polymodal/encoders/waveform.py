"""Samples of sound -> tokens: log-mel bands of them, then the encoder of spectrograms."""

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from polymodal.arguments import Probability, Share, Stages
from polymodal.encoders.base import Encoder
from polymodal.encoders.spectrogram import SpectrogramEncoder
from polymodal.modalities.audio import LOG_MEL_MEAN, LOG_MEL_SCALE
from polymodal.modalities.mel import mel_filters
from polymodal.modalities.stft import Stft
from polymodal.types import Field, Space, Tokens

_FLOOR = 1e-5
"""Of magnitudes before a logarithm, as in ``modalities.mel``."""
_OVERLAP = 4
"""Frames that a Fourier transform covers."""


class WaveformEncoder(Encoder):
    """Sound that is given as its samples, heard as a spectrogram is: by a ``SpectrogramEncoder`` of log-mel bands.

    Args:
        space: Continuous (samples of a frame, frames), the frames of any number.
        width: Width of the tokens.
        sample_rate_hz: Samples per second.
        mels: Bands; as many as the frames can tell apart, where those are fewer.
        stages: How often the frames are halved.
        depth: Transformer blocks.
        heads: Attention heads.
        augment: Strength of the augmentation in training, 0 for none.
        speed: At strength 1 a sound is up to so much faster or slower than it is.
        shift: Furthest move in time at strength 1, as a share of the length.
        noise: Greatest deviation of noise at strength 1, in the spectrogram's unit.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        sample_rate_hz: PositiveInt = 16_000,
        mels: PositiveInt = 80,
        stages: Stages = 3,
        depth: NonNegativeInt = 2,
        heads: PositiveInt = 4,
        augment: NonNegativeFloat = 1.0,
        speed: Share = 0.0,
        shift: Probability = 0.0,
        noise: NonNegativeFloat = 0.0,
    ):
        super().__init__()
        hop = space.channels
        bands = min(mels, max(1, _OVERLAP * hop // 2))
        with torch.device("cpu"):  # what it computes with is made of numbers, also where a model is only sketched
            self.stft = Stft(_OVERLAP * hop, hop)
            filters = mel_filters(sample_rate_hz, _OVERLAP * hop, bands, 0.0, sample_rate_hz / 2)
        self.filters: Tensor
        self.register_buffer("filters", filters, persistent=False)
        heard = Space("continuous", (bands, *space.grid), varies=space.varies)
        self.spectrogram = SpectrogramEncoder(
            heard,
            width,
            stages=stages,
            depth=depth,
            heads=heads,
            augment=augment,
            speed=speed,
            shift=shift,
            noise=noise,
        )

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return SpectrogramEncoder.accepts(space)

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        samples = (field.value.float() * field.real).mT.flatten(1)
        magnitudes = self.stft.power(samples).clamp(min=_FLOOR**2).sqrt()
        log_mel = (self.filters @ magnitudes.mT).clamp(min=_FLOOR).log()
        return self.spectrogram(field.with_value((log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE), keys)
