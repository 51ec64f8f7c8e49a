"""Weights in 8 bits, and means of runs."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import polymodal as pm
from polymodal import checkpoint as checkpoints
from polymodal.cli.main import main
from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import file_sha256
from polymodal.nn.layers import Linear
from polymodal.packaging import merge
from polymodal.quantisation import SCALE, dequantise, quantise


def test_each_output_has_its_own_scale_and_half_a_step_of_error():
    layers = torch.nn.ModuleDict({"ours": Linear(64, 32), "theirs": torch.nn.Linear(64, 32), "small": Linear(2, 2)})
    with torch.no_grad():
        layers["ours"].weight[:, 0] *= 100
        layers["theirs"].weight[0] *= 100
    weights = layers.state_dict()
    packed = quantise(layers, weights)
    assert packed["ours.weight" + SCALE].shape == (1, 32)
    assert packed["theirs.weight" + SCALE].shape == (32, 1)
    assert packed["small.weight"].dtype == torch.float32
    back = dequantise(packed, "here")
    assert back.keys() == weights.keys()
    for name in ("ours.weight", "theirs.weight"):
        assert packed[name].dtype == torch.int8
        assert ((back[name] - weights[name]).abs() <= packed[name + SCALE] * 0.5001).all()
    assert dequantise(quantise(layers, {"ours.weight": torch.zeros(64, 32)}), "")["ours.weight"].abs().max() == 0


def test_a_package_in_8_bits_opens_and_is_scored(trained, tmp_path, capsys):
    folder = tmp_path / "small"
    assert main(["quantise", str(trained), "-o", str(folder), "--rows", "3"]) == 0
    shown = capsys.readouterr().out
    assert "before" in shown
    assert "after" in shown
    own, packed = pm.open(trained), pm.from_pretrained(folder)
    size = sum(weight.nbytes for weight in checkpoints.weights_of(own.model).values())
    assert (folder / "model.safetensors").stat().st_size < 0.7 * size  # of so small a model many weights are small ones
    for (name, one), (_, other) in zip(
        sorted(own.model.state_dict().items()), sorted(packed.model.state_dict().items()), strict=True
    ):
        assert torch.allclose(one.float(), other.float(), atol=float(one.float().abs().max()) / 200), name
    assert packed.generate({"name": "red disc"}, to="picture")["picture"][0].size == (16, 16)


@pytest.mark.parametrize("damage", ["lost", "alone", "shape", "type"])
def test_scales_that_lie_are_refused(trained, tmp_path, damage):
    folder = pm.open(trained).package(tmp_path / "small", int8=True)
    weights = load_file(folder / "model.safetensors")
    scale = next(name for name in weights if name.endswith(SCALE))
    if damage == "lost":
        del weights[scale]
    if damage == "alone":
        del weights[scale.removesuffix(SCALE)]
    if damage == "shape":
        weights[scale] = torch.ones(7, 3)
    if damage == "type":
        weights[scale] = weights[scale].long()
    save_file(weights, folder / "model.safetensors")
    sums = json.loads((folder / "checksums.json").read_text())
    sums["model.safetensors"] = file_sha256(folder / "model.safetensors")
    (folder / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(CheckpointError):
        pm.from_pretrained(folder)


def test_the_mean_of_runs(trained, tmp_path, capsys):
    one, other = pm.open(trained).model, pm.open(trained).model
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    before = {name: value.clone() for name, value in one.state_dict().items()}
    merged = merge([one, other], [3, 1])
    for name, parameter in merged.named_parameters():
        assert torch.allclose(parameter, before[name] + 0.25, atol=1e-5), name
    copy = shutil.copytree(trained, tmp_path / "copy")
    assert main(["merge", str(trained), str(copy), "-o", str(tmp_path / "mean"), "--rows", "3"]) == 0
    assert "mean" in capsys.readouterr().out
    same, mean = pm.open(trained).model.state_dict(), pm.open(tmp_path / "mean").model.state_dict()
    assert all(torch.equal(value, mean[name]) for name, value in same.items())


def test_what_has_no_mean_is_refused(trained, aligned):
    model = pm.open(trained).model
    for models, shares, said in (
        ([model], None, "two runs"),
        ([model, model], [1.0], "one for each run"),
        ([model, model], [1.0, -1.0], "positive"),
    ):
        with pytest.raises(ConfigError, match=said):
            merge(models, shares)
    with pytest.raises(CheckpointError, match="run 2"):
        merge([model, pm.open(aligned).model])
