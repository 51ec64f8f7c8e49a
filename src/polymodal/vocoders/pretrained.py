"""Pretrained vocoders of transformers: HiFi-GAN as SpeechT5 has it, and UnivNet."""

from __future__ import annotations

import math
from inspect import signature
from math import prod
from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import pad

from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import read_json
from polymodal.modalities.audio import LOG_MEL_MEAN, LOG_MEL_SCALE, Audio
from polymodal.nn.random import make_keys, normal
from polymodal.pretrained import LazyNetwork, PretrainedSource
from polymodal.vocoders.base import Vocoder

VOCODER_KINDS = ("speecht5_hifigan", "univnet")
"""Of transformers, by ``model_type``."""
_SILENCE = math.log(1e-5)
"""A log-mel of digital silence, as ours, HiFi-GAN's and UnivNet's are."""
_TAIL = 10
"""Frames of silence behind a spectrogram, that its end may sound as its middle does, as in UnivNet's own reader."""


class PretrainedVocoder(Vocoder):
    """A frozen vocoder of transformers, which is not in memory before a sound is made.

    What its configuration says of the spectrograms that it hears must be what the field's are. What that does not say
    (``n_fft``, the ends of the bands, the logarithm) stands in the feature extractor beside it, or is that of
    transformers for its kind, unless it is given here.

    Source: Kong et al., "HiFi-GAN", 2020; Jang et al., "UnivNet", 2021.

    Args:
        audio: Whose spectrograms it reads.
        model: A folder, ``package:NAME/PATH``, or ``owner/name@commit`` on the hub; see ``pretrained.places.find``.
        n_fft: Samples that a frame covers in the spectrograms that it has learned from.
        f_min_hz: Lower end of their bands.
        f_max_hz: Upper end of their bands.
        log: Whether their logarithm is ``natural`` or of base ``10``.

    Raises:
        ConfigError: There is no such model, or it hears other spectrograms than the field's; says which.
        CheckpointError: Its folder must not be read, or holds no vocoder that is known.
    """

    trains = False

    def __init__(
        self,
        audio: Audio,
        *,
        model: str,
        n_fft: PositiveInt | None = None,
        f_min_hz: NonNegativeFloat | None = None,
        f_max_hz: PositiveFloat | None = None,
        log: Literal["natural", "10"] | None = None,
    ) -> None:
        super().__init__(audio)
        self.source = PretrainedSource(model)
        self.reference = self.source.reference
        self._network = LazyNetwork(self._load)
        self._noisy = self.source.config.model_type == "univnet"
        self._base = log or ("natural" if self._noisy else "10")
        heard, self._norm = self._settings()
        given = {"n_fft": n_fft, "f_min_hz": f_min_hz, "f_max_hz": f_max_hz}
        heard |= {name: value for name, value in given.items() if value is not None}
        top = audio.sample_rate_hz / 2 if audio.f_max_hz is None else audio.f_max_hz
        ours = {name: getattr(audio, name) for name in heard} | {"f_max_hz": top}
        if wrong := [name for name in heard if heard[name] != ours[name]]:
            right, here = (", ".join(f"{name}: {of[name]:g}" for name in wrong) for of in (heard, ours))
            raise ConfigError(f"model: {model} hears {right}; the field has {here}; give it what the model hears")

    @property
    def digest(self) -> str:
        """Names the files of the model."""
        return self.source.digest

    def release(self) -> None:
        self._network.release()

    @torch.no_grad()
    def forward(self, mel: Tensor) -> Tensor:
        network = self._network.on(mel.device)
        length = mel.shape[2] * self.audio.hop_length
        x = mel * LOG_MEL_SCALE + LOG_MEL_MEAN
        if self._noisy:
            x = pad(x, (0, _TAIL), value=_SILENCE)
        x = x / math.log(10) if self._base == "10" else x
        if self._norm:
            low, high = self._norm
            x = 2 * (x - low) / (high - low) - 1
        if self._noisy:
            noise = normal(make_keys(0, 1).to(x.device), (x.shape[2], network.config.model_in_channels))
            made = network(x.mT, noise_sequence=noise.expand(len(x), -1, -1)).waveforms
        else:
            made = network(x.mT)
        made = made[:, :length]
        return pad(made, (0, length - made.shape[1]))  # transposed convolutions may give a few less

    def _settings(self) -> tuple[dict[str, float], tuple[float, float] | None]:
        """Of the spectrograms that it hears, by the names of ``Audio``; and what is brought to [-1, 1], if it is."""
        from transformers import SpeechT5FeatureExtractor, UnivNetFeatureExtractor
        from transformers.audio_utils import optimal_fft_length

        config, file = self.source.config, self.source.folder / "preprocessor_config.json"
        if config.model_type not in VOCODER_KINDS:
            raise CheckpointError(f"{self.source.folder}: its config.json describes none of {', '.join(VOCODER_KINDS)}")
        usual = signature(UnivNetFeatureExtractor if self._noisy else SpeechT5FeatureExtractor).parameters
        reader = {name: argument.default for name, argument in usual.items()}
        reader |= read_json(file) if file.is_file() else {}
        rate = reader["sampling_rate"] if self._noisy else config.sampling_rate
        window = reader["win_length"] if self._noisy else reader["win_length"] * rate // 1000  # of SpeechT5 in ms
        settings = {
            "sample_rate_hz": rate,
            "mels": config.num_mel_bins if self._noisy else config.model_in_dim,
            "hop_length": prod(config.resblock_stride_sizes if self._noisy else config.upsample_rates),
            "n_fft": reader.get("filter_length") or optimal_fft_length(window),
            "f_min_hz": reader["fmin"],
            "f_max_hz": rate / 2 if reader["fmax"] is None else reader["fmax"],
        }
        scaled = self._noisy and reader["do_normalize"]
        return settings, (reader["normalize_min"], reader["normalize_max"]) if scaled else None

    def _load(self) -> nn.Module:
        from transformers import SpeechT5HifiGan, UnivNetModel

        return self.source.load(UnivNetModel if self._noisy else SpeechT5HifiGan)
