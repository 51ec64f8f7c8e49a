"""The inverse-transform vocoder: where it starts, what it crops, that it learns, what it refuses."""

import pytest
import torch

from polymodal.errors import ConfigError
from polymodal.modalities import Audio, Image
from polymodal.modalities.audio import LOG_MEL_MEAN, LOG_MEL_SCALE
from polymodal.nn.random import make_keys
from polymodal.parts import build_part
from polymodal.types import Field
from polymodal.vocoders.istft import IstftVocoder
from refusals import refused

RATE, HOP = 4000, 64


def small(**options) -> IstftVocoder:
    torch.manual_seed(0)
    audio = Audio(sample_rate_hz=RATE, max_seconds=0.6, mels=24, n_fft=256, hop_length=HOP)
    return IstftVocoder(audio, **{"width": 32, "depth": 2, "intermediate_size": 64, "crop_frames": 8, **options})


def tones(vocoder: IstftVocoder, frames: int = 30) -> tuple[Field, Field]:
    """Voice-like sounds of three pitches: their spectrograms and themselves."""
    audio = Audio(sample_rate_hz=RATE, max_seconds=0.6, mels=24, n_fft=256, hop_length=HOP)
    time = torch.arange(frames * HOP) / RATE
    samples = torch.stack(
        [sum(0.2 / k * torch.sin(k * 2 * torch.pi * f * time) for k in range(1, 8)) for f in (100, 130, 170)]
    )
    mask = torch.ones(3, frames, dtype=torch.bool)
    mel = (audio.transform.log_mel(samples) - LOG_MEL_MEAN) / LOG_MEL_SCALE
    return Field.full(mel, mask, 1), Field.full(samples.view(3, frames, HOP).mT, mask, 1)


def test_starts_near_the_magnitudes_that_the_mels_tell():
    vocoder = small()
    mel, samples = tones(vocoder)
    wanted = vocoder.stft.power(samples.value.mT.flatten(1)).clamp(min=1e-4).log() / 2
    with torch.no_grad():
        start = vocoder.magnitudes(mel.value.mT).clamp(min=wanted.min())
    assert (start - wanted).abs().mean() < 0.6 * (wanted - wanted.mean()).abs().mean()
    assert abs(start.mean() - wanted.mean()) < 0.8


def test_crops_keep_spectrogram_and_sound_together_and_end_in_silence():
    vocoder = small()
    lengths = torch.tensor([20, 12, 5])
    mask = torch.arange(20) < lengths[:, None]
    count = torch.arange(20.0) * mask
    mel = Field(count[:, None].expand(-1, 24, -1), mask, mask[:, 0], 1)
    samples = Field(count[:, None].expand(-1, HOP, -1), mask, mask[:, 0], 1)
    starts = set()
    for seed in range(20):
        seen, real = vocoder._crop(mel, samples, make_keys(seed, 3))
        assert seen.shape == (3, 24, 8)
        frames = real.view(3, 8, HOP)[..., 0]
        assert torch.equal(frames[:2], seen[:2, 0])
        assert (frames[:2].diff(dim=1) == 1).all()
        assert (frames[:2, -1] < lengths[:2]).all()
        assert torch.equal(frames[2], torch.tensor([0.0, 1, 2, 3, 4, 0, 0, 0]))
        assert (seen[2, :, 5:] < -2).all()
        starts.add(frames[0, 0].item())
    assert len(starts) > 5


def test_learns():
    vocoder = small()
    mel, samples = tones(vocoder)
    real = samples.value.mT.flatten(1)

    def distance() -> float:
        with torch.no_grad():
            made = vocoder(mel.value)
        powers = [vocoder.stft.power(x).clamp(min=1e-4).log() for x in (made, real)]
        return float((powers[0] - powers[1]).abs().mean())

    before = distance()
    optimizer = torch.optim.AdamW(vocoder.parameters(), lr=1e-2)
    for step in range(30):
        loss = sum(term.mean() for term in vocoder.loss(mel, samples, "model", make_keys(step, 3)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert distance() < 0.9 * before


def test_says_what_is_wrong():
    audio = Audio()
    with pytest.raises(ConfigError, match=r"fields.speech.vocoder.kernel: 4 is even; it must be odd"):
        build_part("vocoder", {"kind": "istft", "kernel": 4}, "fields.speech.vocoder", audio)
    with refused("fields.speech.vocoder.width", "not 0", "greater than 0", by=ConfigError):
        build_part("vocoder", {"kind": "istft", "width": 0}, "fields.speech.vocoder", audio)
    with pytest.raises(ConfigError, match=r"'istf' is unknown; did you mean 'istft'"):
        build_part("vocoder", {"kind": "istf"}, "fields.speech.vocoder", audio)
    expected = r"fields.picture.vocoder.kind: 'istft' does not fit: it makes sound of spectrograms, not Image"
    with pytest.raises(ConfigError, match=expected):
        build_part("vocoder", {"kind": "istft"}, "fields.picture.vocoder", Image(size=16))
