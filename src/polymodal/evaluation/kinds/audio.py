"""What evaluation adds to sound: distances of spectrograms, a speech recogniser, and attributions over time."""

from __future__ import annotations

from markupsafe import Markup
from torch import Tensor

from polymodal.encoders import Encoder, SpectrogramEncoder, WaveformEncoder
from polymodal.evaluation.kinds.base import Kind
from polymodal.evaluation.kinds.drawing import coloured_bands
from polymodal.evaluation.metrics import log_spectral_distance, mel_cepstral_distortion
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.modalities.audio import LOG_MEL_MEAN, LOG_MEL_SCALE, Audio
from polymodal.types import Field


class AudioKind(Kind):
    """Sound, of which only a judge or a speech recogniser can say whether it is right."""

    speech, fine_detail, tower, frechet_metric = True, True, "audio", "Fréchet audio distance"

    def reconstruction(self, real: Field, copy: Field, other: Field) -> list[MetricResult]:
        seen = [self.seen(field).value.double() for field in (real, copy, other)]
        true, ours, theirs = (log_mel * LOG_MEL_SCALE + LOG_MEL_MEAN for log_mel in seen)
        return [
            MetricResult(
                name, distance(true, ours, real.mask).numpy(), ceiling=0.0, higher_is_better=False,
                chance=float(distance(true, theirs, real.mask & other.mask).mean()), aspect="reconstruction",
            )
            for name, distance in (
                ("mel-cepstral distortion, dB", mel_cepstral_distortion),
                ("log-spectral distance, dB", log_spectral_distance),
            )
        ]  # fmt: skip

    def seen(self, field: Field) -> Field:
        assert isinstance(self.modality, Audio)
        return self.modality.spectrogram(field)

    def encoder(self, width: int) -> Encoder:
        if self.modality.waveform_hz:
            return WaveformEncoder(self.space, width, sample_rate_hz=self.modality.waveform_hz)
        return SpectrogramEncoder(self.space, width)

    def draw(self, field: Field, part: Tensor) -> Markup:
        if self.modality.waveform_hz:
            return super().draw(field, part)
        return coloured_bands(field.value[0], part)
