"""Pretrained codecs of sound: EnCodec, Mimi and DAC, tiny and random, through the real loading path."""

import json

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

import polymodal as pm
import tiny_models
from contract.spaces import assert_well_formed, behind_mask
from polymodal.checkpoint import find
from polymodal.codecs.pretrained import PretrainedCodec
from polymodal.codecs.pretrained_sound import SOUND_KINDS
from polymodal.errors import CheckpointError, ConfigError
from polymodal.modalities.audio import Waveform
from polymodal.nn.random import make_keys, normal
from polymodal.nn.shapes import fixed_shapes
from polymodal.types import Field
from refusals import refused

AUDIO = {"sample_rate_hz": 4000, "max_seconds": 0.5, "hop_length": 32, "n_fft": 128, "mels": 16, "form": "samples"}
HOP = 64


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("codecs")
    return {kind: str(tiny_models.sound_codec(root / kind, kind)) for kind in SOUND_KINDS}


def sounds(*frames: int) -> Field:
    """Clips of so many frames of 32 samples."""
    space = pm.Audio(**AUDIO).space
    mask = torch.arange(max(frames)) < torch.tensor(frames)[:, None]
    value = 0.3 * normal(make_keys(0, len(frames)), (space.channels, max(frames)))
    return Field.full(value, mask, 1).with_value(value)


def codes_of(network, kind: str, samples: Tensor, codebooks: int) -> Tensor:
    """What transformers itself gives (codebooks, L) for samples (T,)."""
    x = samples[None, None]
    if kind == "encodec":
        return network.encode(x, bandwidth=network.config.target_bandwidths[-1]).audio_codes[0, 0, :codebooks]
    if kind == "mimi":
        return network.encode(x, num_quantizers=codebooks).audio_codes[0]
    return network.encode(x, n_quantizers=codebooks).audio_codes[0]


def sound_of(network, kind: str, codes: Tensor) -> Tensor:
    """What transformers itself makes (T,) of codes (codebooks, L)."""
    if kind == "encodec":
        return network.decode(codes[None, None], [None]).audio_values.flatten()
    return (network.decode(codes[None]) if kind == "mimi" else network.decode(audio_codes=codes[None]))[0].flatten()


@pytest.mark.parametrize("kind", SOUND_KINDS)
@pytest.mark.parametrize("codebooks", [None, 2])
def test_codes_and_sound_are_the_model_s_own(folders, kind, codebooks):
    audio, field = pm.Audio(**AUDIO), sounds(20, 6, 1)
    codec = PretrainedCodec(audio.space, model=folders[kind], latent="codes", codebooks=codebooks)
    codec.bind(audio)
    network = transformers.AutoModel.from_pretrained(folders[kind]).eval()
    count = codebooks or (network.config.n_codebooks if kind == "dac" else network.config.num_quantizers)
    assert codec.latent.shape == (count * 32 + 1,)
    ids = codec.encode(field)
    back = codec.decode(ids)
    assert_well_formed(ids, codec.latent)
    assert_well_formed(back, audio.space)
    assert back.lengths.tolist() == [20, 6, 2]  # whole frames of the codec
    with torch.no_grad():
        for row, value in enumerate(field.values()):
            samples = torch.nn.functional.pad(value.mT.flatten(), (0, -value.numel() % HOP))
            codes = codes_of(network, kind, samples, count)
            own = ids.values()[row]
            assert own[-1] == 1
            digits = (own[:-1] - 3).view(-1, count)
            assert torch.equal(digits.T % 16, codes)
            assert torch.equal(digits // 16, torch.arange(count).expand_as(digits))  # each says of which codebook it is
            made = sound_of(network, kind, codes)
            torch.testing.assert_close(back.values()[row].mT.flatten(), made, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SOUND_KINDS)
def test_continuous_latents_are_quantised_as_they_are_decoded(folders, kind):
    audio, field = pm.Audio(**AUDIO), sounds(20, 6, 1)
    codes, latents = (
        PretrainedCodec(audio.space, model=folders[kind], latent=latent) for latent in ("codes", "continuous")
    )
    z = latents.encode(field)
    assert_well_formed(z, latents.latent)
    expected, back = codes.decode(codes.encode(field)), latents.decode(z)
    assert torch.equal(back.mask, expected.mask)
    torch.testing.assert_close(back.value, expected.value, rtol=1e-4, atol=1e-5)
    # Their unit is that of the codebooks: an entry of each, drawn at random, makes a latent of unit scale.
    network = transformers.AutoModel.from_pretrained(folders[kind]).eval()
    drawn = torch.randint(16, (1, codes._autoencoder.codebooks, 500), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean, std = latents._autoencoder._scale(network)
        made = (codes._autoencoder._quantised(network, drawn)[0] - mean) / std
    assert 0.8 < made.square().mean().sqrt() < 1.2


@pytest.mark.parametrize("kind", SOUND_KINDS)
@pytest.mark.parametrize("latent", ["continuous", "codes"])
def test_each_row_is_coded_alone_and_nothing_behind_a_mask_is_heard(folders, kind, latent):
    codec, field = PretrainedCodec(pm.Audio(**AUDIO).space, model=folders[kind], latent=latent), sounds(20, 6, 20, 1)
    code, dirty = codec.encode(field), codec.encode(behind_mask(field, 0.5))
    torch.testing.assert_close(code.value, dirty.value, rtol=1e-4, atol=1e-4)
    with fixed_shapes():  # as a server computes: the last bit does not depend on who else asks
        back = codec.decode(code)
    for row in range(4):
        alone = codec.encode(field.pick(torch.tensor([row])).trim(int(field.lengths[row])))
        torch.testing.assert_close(alone.values()[0], code.values()[row], rtol=1e-4, atol=1e-4)
        with fixed_shapes():
            assert torch.equal(codec.decode(code.pick(torch.tensor([row]))).values()[0], back.values()[row])


def test_whatever_a_head_writes_is_sound(folders):
    codec = PretrainedCodec(pm.Audio(**AUDIO).space, model=folders["encodec"], latent="codes", codebooks=2)
    nothing, half, all_alike = [1, 0, 0, 0, 0], [5, 1, 0, 0, 0], [3, 3, 3, 3, 1]
    value = torch.tensor([nothing, half, all_alike])
    made = codec.decode(Field.full(value, value != 0, 0))
    assert_well_formed(made, codec.space)
    assert made.lengths.tolist() == [2, 2, 4]


def recipe(model: str, latent: str, head: dict) -> dict:
    return {
        "width": 16,
        "fields": {
            "s": {"modality": "audio", **AUDIO, "head": head,
                  "codec": {"kind": "pretrained", "model": model, "latent": latent},
                  "encoder": {"kind": "waveform", "sample_rate_hz": 4000, "depth": 1, "heads": 2, "stages": 1}},
            "c": {"modality": "label"},
        },
        "data": {"validation": 0.0, "test": 0.0},
        "train": {"steps": 10, "batch_size": 8},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "latent", "head"),
    [
        ("encodec", "codes", {"kind": "autoregressive", "depth": 1, "heads": 2}),
        ("dac", "continuous", {"kind": "flow", "depth": 1, "heads": 2, "steps": 2}),
    ],
)
def test_a_run_makes_sound_without_a_vocoder(folders, tmp_path, monkeypatch, kind, latent, head):
    seen = []
    plain = PretrainedCodec.encode
    monkeypatch.setattr(PretrainedCodec, "encode", lambda self, field: seen.append(len(field)) or plain(self, field))
    monkeypatch.delattr(pm.Audio, "_griffin_lim")
    random = np.random.default_rng(0)
    rows = [{"s": Waveform(0.3 * random.normal(size=500 + 40 * n).astype(np.float32), 4000), "c": "ab"[n % 2]}
            for n in range(20)] + [{"c": "a"}]  # fmt: skip
    run = pm.fit(recipe(folders[kind], latent, head), rows, run=tmp_path / "run")
    assert sum(seen) == 20
    assert run.model.codecs["s"]._network.network is None
    assert json.loads((find(run.run).path / "config.json").read_text())["references"]["codecs.s"]["place"]
    mine, theirs = (each.generate({"c": "a"}, to="s")["s"][0] for each in (run, pm.open(run.run)))
    assert isinstance(mine, Waveform)
    assert mine.sample_rate_hz == 4000
    assert len(mine) % HOP == 0 or len(mine) == 2000
    assert np.isfinite(mine.samples).all()
    np.testing.assert_array_equal(mine.samples, theirs.samples)
    assert run.generate({"s": mine}, to="c")["c"][0] in ("a", "b")


def test_what_does_not_fit_is_refused(folders, tmp_path):
    def bound(model="encodec", **settings):
        audio = pm.Audio(**{**AUDIO, **settings})
        PretrainedCodec(audio.space, model=folders[model]).bind(audio)

    with refused("model: ", "hears samples", "form: samples", by=ConfigError):
        bound(form="spectrogram")
    with refused("model: ", "hears 4,000 samples per second, not 8,000", "sample_rate_hz: 4000", by=ConfigError):
        bound(sample_rate_hz=8000)
    with refused("model: ", "frames of 64 samples", "hop_length=48", "hop_length: 64", by=ConfigError):
        bound(hop_length=48)
    space = pm.Audio(**AUDIO).space
    with refused("codebooks: 9", "has 4", "1 to 4 are right", by=ConfigError):
        PretrainedCodec(space, model=folders["dac"], codebooks=9)
    with refused(str(tmp_path), "describes none of encodec, mimi, dac", by=CheckpointError):
        PretrainedCodec(space, model=str(tiny_models.bert(tmp_path / "bert")))
    with refused("latent: ", "leave them out for pictures", by=ConfigError):
        PretrainedCodec(pm.Image(size=16).space, model=folders["dac"], latent="codes")
    transformers.EncodecModel(transformers.EncodecConfig(num_filters=2, hidden_size=4)).save_pretrained(
        tmp_path / "two"
    )
    for settings, said in (
        ({"audio_channels": 2, "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01}, "hears 2 channels"),
        ({"normalize": True}, "divides a sound by its loudness"),
        ({"chunk_length_s": 1.0, "overlap": 0.01}, "pieces of 1 s that overlap"),
    ):
        transformers.EncodecConfig(**settings).save_pretrained(tmp_path / "two")
        with refused("model: ", str(tmp_path / "two"), said, "take a codec of one channel", by=ConfigError):
            PretrainedCodec(space, model=str(tmp_path / "two"))
    sound = Waveform(np.zeros(400, np.float32), 16_000)
    field = {"modality": "audio", "form": "samples", "vocoder": {"kind": "istft"}}
    with pytest.raises(ConfigError, match="nothing to be made"):
        pm.fit({"fields": {"s": field}, "train": {"steps": 1}}, [{"s": sound}] * 4, run=tmp_path / "run")
