"""Log-mel and Griffin-Lim against closed forms and librosa."""

import numpy as np
import pytest
import torch

from polymodal.modalities.mel import MelTransform, hz_to_mel, mel_to_hz
from polymodal.nn.random import make_keys


def transform(**options) -> MelTransform:
    settings = {"sample_rate_hz": 16_000, "n_fft": 1024, "hop_length": 256, "mels": 80, "f_min_hz": 0.0}
    return MelTransform(**{**settings, "f_max_hz": 8000.0, **options})


def harmonics(seconds: float = 1.0, rate: int = 16_000) -> torch.Tensor:
    """A gliding voice-like sound (1, T)."""
    time = torch.arange(int(seconds * rate)) / rate
    phase = 2 * torch.pi * (120 * time + 30 * time**2)
    return sum(0.2 / k * torch.sin(k * phase) for k in range(1, 20))[None]


def spectrogram(mel: MelTransform, samples: torch.Tensor) -> torch.Tensor:
    return mel.stft.spectrum(samples).abs()


def test_mel_scale_has_slaneys_fixed_points():
    mel = hz_to_mel(torch.tensor([0.0, 200 / 3, 1000.0, 6400.0], dtype=torch.float64))
    torch.testing.assert_close(mel, torch.tensor([0.0, 1.0, 15.0, 42.0], dtype=torch.float64))
    frequencies = torch.linspace(0, 12_000, 50, dtype=torch.float64)
    torch.testing.assert_close(mel_to_hz(hz_to_mel(frequencies)), frequencies)


def test_filters_have_unit_area():
    area = transform(mels=20).filters.sum(1) * (16_000 / 1024)
    torch.testing.assert_close(area, torch.ones(20), atol=0.02, rtol=0)


def test_a_tone_on_a_bin_has_the_closed_form():
    """A sine of amplitude a on bin k has magnitude a * sum(window) / 2 there, and half of that beside it."""
    mel = transform()
    k, amplitude = 64, 0.5
    samples = amplitude * torch.sin(2 * torch.pi * k / 1024 * torch.arange(16_000))[None]
    peak = amplitude * 512 / 2
    expected = mel.filters[:, k - 1 : k + 2] @ torch.tensor([peak / 2, peak, peak / 2])
    got = mel.log_mel(samples)[0, :, 30].exp()
    strong = expected > 1e-2
    torch.testing.assert_close(got[strong], expected[strong], rtol=1e-3, atol=1e-3)
    assert got[expected == 0].max() < 1e-2


def test_silence_is_the_floor_and_rows_do_not_touch_each_other():
    mel = transform()
    samples = torch.cat([harmonics(), torch.zeros(1, 16_000)]).repeat(5, 1)
    together = mel.log_mel(samples)
    assert torch.equal(together[1], torch.full((80, 63), 1e-5).log())
    torch.testing.assert_close(together[8:9], mel.log_mel(samples[:1]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n_fft", "hop", "rate", "mels"), [(1024, 256, 16_000, 80), (400, 160, 16_000, 64)])
def test_equals_librosa(n_fft, hop, rate, mels):
    librosa = pytest.importorskip("librosa")
    mel = transform(n_fft=n_fft, hop_length=hop, sample_rate_hz=rate, mels=mels, f_min_hz=50.0, f_max_hz=7600.0)
    samples = torch.randn(3, 15_000, generator=torch.Generator().manual_seed(0)) * 0.1
    theirs = librosa.feature.melspectrogram(
        y=mel.stft.pad(samples).numpy(), sr=rate, n_fft=n_fft, hop_length=hop, n_mels=mels, fmin=50.0, fmax=7600.0,
        power=1.0, center=False,
    )  # fmt: skip
    np.testing.assert_allclose(mel.log_mel(samples), np.log(np.maximum(theirs, 1e-5)), atol=1e-4)


def test_overlap_add_inverts_the_transform():
    for options in ({}, {"n_fft": 400, "hop_length": 160}, {"n_fft": 512, "hop_length": 128}):
        mel, samples = transform(**options), harmonics()
        padded = mel.stft.pad(samples)
        spectrum = mel.stft.spectrum(samples)
        rebuilt = mel.stft.overlap_add(spectrum, mel.stft.overlap_scale(spectrum.shape[1]))
        inside = slice(mel.stft.n_fft // 2, -mel.stft.n_fft // 2)
        torch.testing.assert_close(rebuilt[:, inside], padded[:, inside], atol=1e-5, rtol=0)
        own = mel.stft.samples(spectrum)
        assert own.shape[1] == mel.stft.frames(samples.shape[1]) * mel.stft.hop_length
        inside = slice(mel.stft.n_fft, samples.shape[1] - mel.stft.n_fft)
        torch.testing.assert_close(own[:, inside], samples[:, inside], atol=1e-5, rtol=0)


def test_magnitudes_reproduce_the_mels():
    mel = transform()
    log_mel = mel.log_mel(harmonics())
    linear = mel.magnitudes(log_mel)
    assert (linear >= 0).all()
    error = (linear @ mel.filters.mT).mT - log_mel.exp()
    assert error.norm() / log_mel.exp().norm() < 0.03


def test_griffin_lim_converges_as_librosas_does():
    librosa = pytest.importorskip("librosa")
    mel = transform()
    target = spectrogram(mel, harmonics())
    ours = spectrogram(mel, mel.griffin_lim(target, make_keys(0, 1)))
    magnitudes = target[0].T.numpy()
    theirs = librosa.griffinlim(magnitudes, n_iter=32, hop_length=256, n_fft=1024, center=False, random_state=0)
    theirs = torch.fft.rfft(mel.stft.cut(torch.from_numpy(theirs)[None])).abs()
    assert (ours - target).norm() <= 1.1 * (theirs - target).norm()
    assert (ours - target).norm() / target.norm() < 0.1


def test_a_clip_sounds_the_same_alone_and_in_a_batch():
    mel = transform()
    target = spectrogram(mel, torch.cat([harmonics(), harmonics() * 0.5, harmonics().flip(1)]).repeat(3, 1))
    keys = make_keys(7, 9)
    together = mel.griffin_lim(target, keys, iterations=4)
    torch.testing.assert_close(together[5:6], mel.griffin_lim(target[5:6], keys[5:6], iterations=4), atol=1e-4, rtol=0)
