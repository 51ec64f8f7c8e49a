"""Audio: every way in, the way out, and what is refused."""

import io

import numpy as np
import pytest
import soundfile
import torch

from polymodal.errors import ConfigError, DataError
from polymodal.modalities.audio import Audio, Waveform
from polymodal.types import Field

RATE = 16_000


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def as_file(samples: np.ndarray, rate: int, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype="FLOAT" if kind == "WAV" else None)
    return file.getvalue()


def back(audio: Audio, stored: np.ndarray) -> Waveform:
    return audio.write(audio.to_model(torch.from_numpy(stored)[None])[0])


def test_every_form_of_one_clip_reads_the_same(tmp_path):
    audio, clip = Audio(), tone(0.5)
    path = tmp_path / "clip.wav"
    path.write_bytes(as_file(clip, RATE))
    expected = audio.read(clip)
    assert expected.shape == (32, 80)
    assert expected.dtype == np.float16
    for raw in (path, path.read_bytes(), (clip, RATE), Waveform(clip, RATE), np.stack([clip, clip], 1)):
        np.testing.assert_array_equal(audio.read(raw), expected)
    as_integers = (clip * 32768).round().astype(np.int16)
    loud = expected > -1.5
    np.testing.assert_allclose(audio.read(as_integers)[loud], expected[loud], atol=0.02)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_reads_the_usual_files_at_any_rate(kind):
    stored = Audio().read(as_file(tone(1.0, 44_100), 44_100, kind))
    assert abs(len(stored) - 63) <= 4  # lossy codecs pad
    loudest = stored[5:55].astype(np.float32).mean(0).argmax()
    assert loudest == Audio().read(tone(1.0))[5:55].astype(np.float32).mean(0).argmax()


def test_values_are_about_unit_scale():
    audio = Audio()
    silence = audio.read(np.zeros(RATE, np.float32))
    noise = audio.read(np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32))
    assert -3 < silence.min() == silence.max() < -1
    assert 0 < noise.mean() < 2


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 16_000, 32_000])
def test_length_is_kept_to_the_hop(samples):
    audio = Audio(max_seconds=2.0)
    stored = audio.read(tone(samples / RATE))
    assert len(stored) == -(-samples // 256) <= audio.space.max_length
    assert len(back(audio, stored)) == len(stored) * 256


def test_longest_clip_fills_the_space():
    audio = Audio(max_seconds=1.3, mels=40)
    assert audio.to_model(torch.from_numpy(audio.read(tone(1.3)))[None]).shape[1:] == audio.space.shape


@pytest.mark.parametrize("form", ["spectrogram", "samples"])
def test_the_longest_sound_that_is_written_is_read_again(form):
    audio = Audio(max_seconds=0.3, form=form)
    sound = back(audio, audio.read(tone(0.3)))
    assert audio.read(sound).shape[0] == audio.space.max_length
    assert audio.read(audio.encode(sound)).shape[0] == audio.space.max_length


@pytest.mark.parametrize("samples", [1, 255, 257, 16_000])
def test_in_the_form_of_samples_it_is_the_sound_itself(samples):
    audio, clip = Audio(form="samples"), tone(samples / RATE)
    stored = audio.read(clip)
    assert stored.shape == (-(-samples // 256), 256)
    assert audio.to_model(torch.from_numpy(stored)[None]).shape[1:] == (256, len(stored))
    made = back(audio, stored)
    np.testing.assert_allclose(made.samples[:samples], clip, atol=3e-4)  # of 16 bits
    assert not made.samples[samples:].any()
    field = Field.full(audio.to_model(torch.from_numpy(stored)[None]), varies=1)
    seen = audio.spectrogram(field)
    expected = Audio().to_model(torch.from_numpy(Audio().read(clip))[None])
    loud = expected > -1.0  # what is quieter drowns in the rounding of samples to 16 bits
    torch.testing.assert_close(seen.value[loud], expected[loud], atol=0.05, rtol=0)
    assert torch.equal(Audio().spectrogram(field).value, field.value)


def test_samples_are_not_made_heard_by_a_vocoder():
    audio = Audio(form="samples")
    with pytest.raises(ConfigError, match="vocoder: makes sound of spectrograms"):
        audio.with_vocoder(torch.nn.Identity())
    assert audio.state()["form"] == "samples"
    assert audio.portable() == {"form": "array"}


def test_write_brings_the_tone_back_and_is_deterministic():
    audio = Audio()
    stored = audio.read(tone(0.8, hertz=1000.0))
    sound = back(audio, stored)
    spectrum = np.abs(np.fft.rfft(sound.samples))
    assert abs(spectrum.argmax() / sound.seconds - 1000) < 40
    assert np.abs(sound.samples).max() <= 1
    np.testing.assert_array_equal(sound.samples, back(audio, stored).samples)


def test_waveform_saves_by_suffix(tmp_path):
    sound = Waveform(tone(0.25), RATE)
    for name in ("a.wav", "a.flac"):
        sound.save(tmp_path / name)
        samples, rate = soundfile.read(tmp_path / name)
        assert rate == RATE
        np.testing.assert_allclose(samples, sound.samples, atol=1e-4)
    assert sound.seconds == 0.25
    assert np.asarray(sound).shape == (4000,)
    with pytest.raises(DataError, match=r"cannot write audio as '\.docx'"):
        sound.save(tmp_path / "a.docx")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not readable as audio"),
        (b"RIFF, but no more", "not readable as audio"),
        (as_file(tone(0.5), RATE)[:40], "not readable as audio"),
        (as_file(np.zeros(0), RATE), "empty"),
        (np.zeros(0, np.float32), "empty"),
        (np.array([0.0, np.nan]), "not a number"),
        (as_file(np.array([0.0, np.inf]), RATE), "not a number"),
        (tone(2.1), r"2\.10 s long; at most max_seconds=2\.0"),
        (as_file(tone(2.1, 8000), 8000), r"2\.10 s long"),
        (np.zeros((2, 16_000)), "16000 channels; 1 to 32"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        ((tone(0.1), 10**9), "at most 768,000"),
        ((tone(0.1)[:1], 192_000), "no sample is left"),
        ((tone(0.1), "16k"), "must be a number"),
        (1e20 * tone(0.1), "full scale is 1, and at most 100 are read"),
        (np.zeros(100, np.uint8), "uint8"),
        ((tone(0.1), 0), "sample rate 0"),
        ("clip.wav", "not audio: str"),
        (3, "not audio: int"),
    ],
)
def test_refuses_what_is_not_a_clip(raw, reason):
    with pytest.raises(DataError, match=reason):
        Audio().read(raw)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="not readable as audio"):
        Audio().read(tmp_path / "none.wav")


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate_hz": 0},
        {"max_seconds": 0},
        {"n_fft": 1023},
        {"hop_length": 2048},
        {"f_max_hz": 9000},
        {"f_min_hz": 8000},
        {"mels": 0},
    ],
)
def test_refuses_settings_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Audio(**options)


def test_state_builds_it_again():
    audio = Audio(sample_rate_hz=22_050, mels=64, f_max_hz=8000.0)
    again = Audio(**audio.state())
    assert again.space == audio.space
    np.testing.assert_array_equal(again.read(tone(0.3)), audio.read(tone(0.3)))
