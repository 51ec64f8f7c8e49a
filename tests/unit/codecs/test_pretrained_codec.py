"""Pretrained codecs: autoencoders of diffusers, tiny and random, through the real loading path."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import polymodal as pm
import tiny_models
from contract.spaces import assert_well_formed
from polymodal.checkpoint import find
from polymodal.codecs.pretrained import PretrainedCodec
from polymodal.codecs.pretrained_pictures import PICTURE_KINDS
from polymodal.errors import CheckpointError, ConfigError
from polymodal.types import Field, Space

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("autoencoders")
    return {kind: str(tiny_models.autoencoder(root / kind, kind)) for kind in PICTURE_KINDS}


@pytest.mark.parametrize("kind", PICTURE_KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_model_s_own_encoder_and_decoder(folders, kind, channels):
    space = Space("continuous", (channels, 16, 12), bounds=(-1.0, 1.0))
    codec = PretrainedCodec(space, model=folders[kind])
    assert codec.latent.shape == (4, 4, 3)
    field = Field.full(torch.rand(3, *space.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    code = codec.encode(field)
    back = codec.decode(code)
    assert_well_formed(code, codec.latent)
    assert_well_formed(back, space)
    network = getattr(diffusers, kind).from_pretrained(folders[kind], use_safetensors=True).eval()
    with torch.no_grad():
        made = network.encode(field.value.expand(-1, 3, -1, -1))
        plain = made.latent_dist.mean if kind == "AutoencoderKL" else made[0]
        scale, shift = network.config.get("scaling_factor") or 1.0, network.config.get("shift_factor") or 0.0
        torch.testing.assert_close(code.value, (plain - shift) * scale)
        expected = network.decode(plain).sample.clamp(-1, 1)
    expected = network.decode(plain).sample.mean(1, keepdim=True).clamp(-1, 1) if channels == 1 else expected
    torch.testing.assert_close(back.value, expected, rtol=1e-4, atol=1e-5)
    row = torch.tensor([1])
    torch.testing.assert_close(codec.encode(field.pick(row)).value[0], code.value[1], rtol=1e-4, atol=1e-5)
    assert not list(codec.parameters())


def test_a_run_on_its_latents_holds_a_reference_and_reads_each_picture_once(folders, tmp_path, monkeypatch):
    seen = []
    plain = PretrainedCodec.encode
    monkeypatch.setattr(PretrainedCodec, "encode", lambda self, field: seen.append(len(field)) or plain(self, field))
    random = np.random.default_rng(0)
    rows = [{"p": random.integers(0, 256, (16, 16, 3), dtype=np.uint8), "c": "ab"[n % 2]} for n in range(24)]
    recipe = {
        "width": 16,
        "fields": {
            "p": {"modality": "image", "size": 16, "role": "output",
                  "codec": {"kind": "pretrained", "model": folders["AutoencoderKL"]},
                  "head": {"kind": "flow", "depth": 1, "heads": 2, "repeats": 1, "steps": 2}},
            "c": {"modality": "label", "role": "input"},
        },
        "data": {"validation": 0.0, "test": 0.0},
        "train": {"steps": 12, "batch_size": 8},
    }  # fmt: skip
    run = pm.fit(recipe, rows, run=tmp_path / "run")
    assert sum(seen) == 24
    assert run.model.codecs["p"]._network.network is None
    checkpoint = find(run.run)
    assert not [name for name in load_file(checkpoint.path / "model.safetensors") if name.startswith("codecs.")]
    assert json.loads((checkpoint.path / "config.json").read_text())["references"]["codecs.p"]["place"]
    mine, theirs = (np.asarray(each.generate({"c": "a"}, to="p")["p"][0]) for each in (run, pm.open(run.run)))
    np.testing.assert_array_equal(mine, theirs)


def test_what_does_not_fit_is_refused(folders, tmp_path):
    space = Space("continuous", (3, 18, 16), bounds=(-1.0, 1.0))
    with pytest.raises(ConfigError, match=r"model: .* divides sides by 4; 18 x 16 pixels are no multiples"):
        PretrainedCodec(space, model=folders["AutoencoderKL"])
    with pytest.raises(CheckpointError, match="describes none of AutoencoderKL"):
        PretrainedCodec(space, model=str(tiny_models.bert(tmp_path / "bert")))
    assert "compresses pictures" in str(PretrainedCodec.accepts(pm.Vector(3).space))
