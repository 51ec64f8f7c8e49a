"""The codec that comes trained: any size, grey or coloured, frozen or tuned, and no copy of it in a run."""

import json

import pytest
import torch
from safetensors.torch import load_file

import polymodal as pm
from polymodal.claims import without_memory
from polymodal.codecs.trained import REVISION, TrainedAutoencoder
from polymodal.errors import ConfigError
from polymodal.nn.random import make_keys, normal
from polymodal.types import Field, Space


def space(channels: int, height: int, width: int) -> Space:
    return Space("continuous", (channels, height, width), bounds=(-1.0, 1.0))


def smooth(channels: int, height: int, width: int, rows: int = 4) -> Field:
    """Random waves, in [-1, 1]."""
    phase = normal(make_keys(0, rows), (channels, 2)) * 2
    up, across = (torch.sin(torch.linspace(0, 5, side) + phase[:, :, axis, None])
                  for axis, side in enumerate((height, width)))  # fmt: skip
    return Field.full(0.9 * up[..., None] * across[..., None, :])


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 64, 64), (1, 28, 28), (3, 50, 37), (1, 9, 130)])
@torch.no_grad()
def test_pictures_of_any_size_come_back(channels, height, width):
    codec, field = TrainedAutoencoder(space(channels, height, width)), smooth(channels, height, width)
    code = codec.encode(field)
    assert code.value.shape[1:] == codec.latent.shape == (32, -(-height // 8), -(-width // 8))
    assert 0.05 < code.value.square().mean() < 20
    back = codec.decode(code)
    assert back.value.shape == field.value.shape
    assert (back.value - field.value).square().mean() < 0.003  # 31 dB


@torch.no_grad()
def test_numbers_of_other_bounds_are_read_and_written_as_they_are():
    usual, other = (TrainedAutoencoder(Space("continuous", (1, 24, 24), bounds=b)) for b in ((-1, 1), (0, 10)))
    field = smooth(1, 24, 24)
    moved = field.with_value(5 + 5 * field.value)
    code = usual.encode(field)
    torch.testing.assert_close(other.encode(moved).value, code.value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.decode(code).value, 5 + 5 * usual.decode(code).value)


@torch.no_grad()
def test_a_size_changes_nothing_far_from_the_margin():
    large, field = TrainedAutoencoder(space(3, 128, 128)), smooth(3, 128, 128)
    small = TrainedAutoencoder(space(3, 112, 128))
    cut = field.with_value(field.value[:, :, :112])
    torch.testing.assert_close(
        small.encode(cut).value[:, :, :6], large.encode(field).value[:, :, :6], rtol=1e-4, atol=1e-4
    )


def test_it_refuses_what_is_no_picture_and_is_sketched_without_its_weights():
    for other in (space(4, 16, 16), Space("continuous", (3, 16, 16)), Space("continuous", (3, 16), bounds=(0, 1))):
        assert "pictures" in TrainedAutoencoder.accepts(other)
    with without_memory(300):
        codec = TrainedAutoencoder(space(3, 32, 32))
    assert {weight.device.type for weight in codec.state_dict().values()} == {"meta"}


def test_tuning_moves_the_way_back_and_no_code():
    field, keys = smooth(3, 24, 24), make_keys(0, 4)
    codec = TrainedAutoencoder(space(3, 24, 24), tune=True)
    before, moved = codec.encode(field).value, list(codec.parameters_of("model"))
    plain = (codec.decode(codec.encode(field)).value - field.value).detach().square().mean()
    optimizer = torch.optim.Adam(moved, lr=1e-3)
    for _ in range(12):
        losses = codec.loss(field, "model", keys)
        assert all(loss.shape == (4,) for loss in losses.values())
        optimizer.zero_grad()
        sum(loss.sum() for loss in losses.values()).backward()
        optimizer.step()
    assert torch.equal(codec.encode(field).value, before)
    tuned = (codec.decode(codec.encode(field)).value - field.value).detach().square().mean()
    assert tuned < plain / 2  # 3 dB
    assert all(parameter.grad is not None for parameter in moved)
    assert not list(TrainedAutoencoder(space(3, 24, 24)).parameters_of("model"))


def run_of(world, tmp_path, **codec):
    recipe = {
        "width": 16,
        "fields": {
            "colour": {"modality": "label", "role": "input"},
            "picture": {"modality": "image", "size": 16, "role": "output", "codec": {"kind": "trained", **codec},
                        "head": {"kind": "flow", "hidden_size": 16, "depth": 1}},
        },
        "train": {"steps": 2, "batch_size": 4, "codec_steps": 2, "codec_batch_size": 4},
    }  # fmt: skip
    return pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "run", print_progress=False)


def test_a_run_holds_a_reference_and_its_latents_but_no_weights(world, tmp_path):
    model = run_of(world, tmp_path)
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert not [name for name in load_file(checkpoint / "model.safetensors") if name.startswith("codecs.")]
    reference = json.loads((checkpoint / "config.json").read_text())["references"]["codecs.picture"]
    assert reference["revision"] == REVISION
    assert (tmp_path / "run" / "latents" / "picture" / "key").exists()
    assert not (tmp_path / "run" / "codecs").exists()
    (picture,) = model.generate({"colour": "red"}, "picture")["picture"]
    assert picture.size == (16, 16)


def test_a_run_that_tunes_it_holds_its_weights(world, tmp_path):
    run_of(world, tmp_path, tune=True)
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert [name for name in load_file(checkpoint / "model.safetensors") if name.startswith("codecs.picture.network.")]
    with pytest.raises(ConfigError, match="tune"):
        run_of(world, tmp_path / "other", tune="decoder")
