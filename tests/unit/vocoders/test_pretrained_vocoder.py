"""Pretrained vocoders: tiny and random, through the real loading path."""

import json

import numpy as np
import pytest
import torch
import transformers

import polymodal as pm
import tiny_models
from polymodal.checkpoint import find
from polymodal.errors import CheckpointError, ConfigError
from polymodal.modalities.audio import LOG_MEL_MEAN, LOG_MEL_SCALE, Audio, Waveform
from polymodal.nn.random import make_keys, normal
from polymodal.vocoders.pretrained import PretrainedVocoder
from refusals import refused

KINDS = {"hifigan": {"sample_rate_hz": 16_000, "f_min_hz": 80.0, "f_max_hz": 7600.0, "n_fft": 1024},
         "univnet": {"sample_rate_hz": 24_000, "n_fft": 256}}  # fmt: skip


def audio_of(kind: str, **settings) -> Audio:
    return Audio(**{"max_seconds": 0.1, "mels": 20, "hop_length": 16, **KINDS[kind], **settings})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("vocoders")
    return {kind: str(getattr(tiny_models, kind)(root / kind)) for kind in KINDS}


def mels(audio: Audio, frames: int, rows: int = 3) -> torch.Tensor:
    return normal(make_keys(0, rows), (audio.mels, frames))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_apart_and_as_long_as_their_spectrograms(folders, kind):
    audio = audio_of(kind)
    vocoder = PretrainedVocoder(audio, model=folders[kind])
    mel = mels(audio, 9)
    together = vocoder(mel)
    for length in (1, 2, 9):
        assert vocoder(mel[..., :length]).shape == (3, 16 * length)
    torch.testing.assert_close(together[1:2], vocoder(mel[1:2]), atol=1e-5, rtol=1e-4)
    assert torch.equal(together, vocoder(mel))
    assert together.std() > 0
    assert not list(vocoder.parameters())


def test_hifigan_is_given_common_logarithms_and_univnet_natural_ones(folders):
    """What it makes is what transformers makes of the spectrogram that its own feature extractor would give."""
    audio = audio_of("hifigan")
    mel = mels(audio, 9)
    network = transformers.SpeechT5HifiGan.from_pretrained(folders["hifigan"]).eval()
    common = (mel * LOG_MEL_SCALE + LOG_MEL_MEAN) / np.log(10)
    natural = PretrainedVocoder(audio, model=folders["hifigan"], log="natural")
    with torch.no_grad():
        vocoder = PretrainedVocoder(audio, model=folders["hifigan"])
        torch.testing.assert_close(vocoder(mel), network(common.mT), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(natural(mel), network(common.mT * np.log(10)), rtol=1e-4, atol=1e-5)
    audio = audio_of("univnet")
    network = transformers.UnivNetModel.from_pretrained(folders["univnet"]).eval()
    reader = transformers.UnivNetFeatureExtractor.from_pretrained(folders["univnet"])
    clip = np.random.default_rng(0).normal(size=1600).astype(np.float32) * 0.1
    ours = audio.to_model(torch.from_numpy(audio.read(clip))[None])
    theirs = torch.from_numpy(reader.mel_spectrogram(clip)).float()  # in the middle, as its ends mirror the sound
    torch.testing.assert_close((ours * LOG_MEL_SCALE + LOG_MEL_MEAN)[0].mT[9:-9], theirs[9:-9], rtol=0, atol=0.01)
    noise = normal(make_keys(0, 1), (110, 4))
    silent = torch.nn.functional.pad(ours * LOG_MEL_SCALE + LOG_MEL_MEAN, (0, 10), value=np.log(1e-5))
    with torch.no_grad():
        expected = network(silent.mT, noise_sequence=noise).waveforms[:, :1600]
        torch.testing.assert_close(PretrainedVocoder(audio, model=folders["univnet"])(ours), expected)


def test_hifigan_s_spectrogram_is_ours_half_a_frame_apart():
    audio, reader = audio_of("hifigan", mels=80, hop_length=256), transformers.SpeechT5FeatureExtractor()
    clip = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1
    ours = audio.transform.log_mel(torch.from_numpy(clip)[None])[0].mT / np.log(10)
    theirs = torch.from_numpy(reader._extract_mel_features(clip[128:]))  # its frames are centred on their beginnings
    torch.testing.assert_close(ours[4:50], theirs[4:50].float(), rtol=1e-3, atol=1e-3)


def test_what_univnet_s_reader_brings_to_one_scale_is_brought_there(folders, tmp_path):
    scaled = tiny_models.univnet(tmp_path / "scaled", do_normalize=True)
    audio = audio_of("univnet")
    reader = transformers.UnivNetFeatureExtractor.from_pretrained(scaled)
    mel = mels(audio, 40)
    inverse = (reader.normalize((mel * LOG_MEL_SCALE + LOG_MEL_MEAN).numpy()) - LOG_MEL_MEAN) / LOG_MEL_SCALE
    plain, other = (PretrainedVocoder(audio, model=str(folder)) for folder in (folders["univnet"], scaled))
    # Of the frames that are far from the end: the silence behind it is brought to that scale as well.
    torch.testing.assert_close(other(mel)[:, :160], plain(torch.as_tensor(inverse))[:, :160], rtol=1e-3, atol=1e-4)


def test_a_run_is_heard_by_it(folders, tmp_path, monkeypatch):
    monkeypatch.delattr(Audio, "_griffin_lim")
    random = np.random.default_rng(0)
    rows = [{"s": Waveform(0.3 * random.normal(size=400 + 40 * n).astype(np.float32), 24_000), "c": "ab"[n % 2]}
            for n in range(16)]  # fmt: skip
    settings = audio_of("univnet").state()
    recipe = {
        "width": 16,
        "fields": {
            "s": {"modality": "audio", **settings, "role": "output",
                  "vocoder": {"kind": "pretrained", "model": folders["univnet"]},
                  "head": {"kind": "flow", "depth": 1, "heads": 2, "repeats": 1, "steps": 2}},
            "c": {"modality": "label", "role": "input"},
        },
        "data": {"validation": 0.0, "test": 0.0},
        "train": {"steps": 5, "batch_size": 8},
    }  # fmt: skip
    run = pm.fit(recipe, rows, run=tmp_path / "run")
    assert json.loads((find(run.run).path / "config.json").read_text())["references"]["vocoders.s"]["place"]
    mine, theirs = (each.generate({"c": "a"}, to="s")["s"][0] for each in (run, pm.open(run.run)))
    assert mine.sample_rate_hz == 24_000
    np.testing.assert_array_equal(mine.samples, theirs.samples)


def test_other_spectrograms_are_refused(folders, tmp_path):
    def make(kind, model=None, arguments=None, **settings):
        return PretrainedVocoder(audio_of(kind, **settings), model=model or folders[kind], **(arguments or {}))

    with refused("model: ", "hears f_min_hz: 80, f_max_hz: 7600;", "has f_min_hz: 0, f_max_hz: 8000;", by=ConfigError):
        make("hifigan", f_min_hz=0.0, f_max_hz=None)
    with refused("model: ", "hears mels: 20, hop_length: 16, n_fft: 1024", "hop_length: 64", by=ConfigError):
        make("hifigan", mels=40, hop_length=64, n_fft=512)
    with refused("model: ", "hears sample_rate_hz: 24000", "the field has sample_rate_hz: 16000", by=ConfigError):
        make("univnet", sample_rate_hz=16_000, f_max_hz=8000.0, arguments={"f_max_hz": 8000.0})
    told = {"f_min_hz": 0.0, "f_max_hz": 8000.0, "log": "natural"}
    assert make("hifigan", f_min_hz=0.0, f_max_hz=None, arguments=told)(mels(audio_of("hifigan"), 2)).shape == (3, 32)
    with refused(str(tmp_path), "describes none of speecht5_hifigan, univnet", by=CheckpointError):
        make("univnet", model=str(tiny_models.bert(tmp_path / "bert")))
