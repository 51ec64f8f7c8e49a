"""The encoders that come trained: any size and any vocabulary, frozen or tuned, and no copy of them in a run."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

import polymodal as pm
from polymodal.claims import without_memory
from polymodal.config import load_recipe
from polymodal.encoders.trained import PART, REVISION, WIDTH, TrainedEncoder
from polymodal.errors import ConfigError
from polymodal.export import export_direction
from polymodal.modalities import Modality
from polymodal.model import Model
from polymodal.nn.random import make_keys, normal
from polymodal.types import Field

BYTES, PIECES = pm.Text(max_length=400), pm.Text(max_length=400, tokenizer="trained")
LONG = "a red apple beside the blue house, " * 8


def encoder_of(modality: Modality, **arguments) -> TrainedEncoder:
    encoder = TrainedEncoder(modality.space, 24, **arguments)
    encoder.bind(modality)
    return encoder


def read(modality: Modality, *raws) -> Field:
    stored = [torch.tensor(modality.read(raw))[None] for raw in raws]
    return Field.stack([Field.full(modality.to_model(one), varies=modality.space.varies) for one in stored])


def disc(size: tuple[int, int]) -> Image.Image:
    """A yellow disc on white, of so many pixels."""
    picture = Image.new("RGB", (400, 400), "white")
    ImageDraw.Draw(picture).ellipse((60, 60, 340, 340), "gold", "black", 12)
    return picture.resize(size, Image.Resampling.LANCZOS)


@torch.no_grad()
def test_a_picture_of_any_size_has_the_same_place():
    places = []
    for side in (64, 200, 48, 33):
        image = pm.Image(size=side)
        tokens = encoder_of(image)(read(image, disc((side, side))))
        assert tokens.x.shape == (1, 17, WIDTH)
        assert tokens.mask.all()
        places.append(tokens.x[0, 0] / WIDTH**0.5)
    torch.testing.assert_close(torch.stack(places).norm(dim=1), torch.ones(4))
    assert (torch.stack(places) @ places[0]).min() > 0.9
    for other in (pm.Image(size=64, channels=1), pm.Image(size=(48, 80))):
        assert encoder_of(other)(read(other, disc((64, 64)))).x.shape == (1, 17, WIDTH)


@torch.no_grad()
def test_texts_are_read_alike_in_any_vocabulary_however_long_they_are():
    raws = ["apple", LONG, "", "Äpfel 日本"]
    bytes_, pieces = (encoder_of(text)(read(text, *raws)) for text in (BYTES, PIECES))
    longest = len(PIECES.read(LONG))
    assert longest > PART
    assert pieces.x.shape == bytes_.x.shape == (4, 1 + longest, WIDTH)
    assert torch.equal(bytes_.mask, pieces.mask)
    torch.testing.assert_close(bytes_.x, pieces.x)
    for row, raw in enumerate(raws):
        alone = encoder_of(PIECES)(read(PIECES, raw))
        torch.testing.assert_close(alone.x[0], pieces.x[row][pieces.mask[row]], rtol=1e-4, atol=1e-4)
    label = pm.Label(["apple", "house"])
    named = encoder_of(label)(read(label, "apple"))
    torch.testing.assert_close(named.x[0], bytes_.x[0][bytes_.mask[0]], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_pictures_lie_near_what_they_show():
    image = pm.Image(size=64)
    heart = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(heart).polygon(
        [(32, 58), (6, 28), (12, 12), (24, 10), (32, 20), (40, 10), (52, 12), (58, 28)], "red"
    )
    tree = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(tree).rectangle((28, 44, 36, 62), "saddlebrown")
    ImageDraw.Draw(tree).ellipse((10, 4, 54, 48), "forestgreen")
    seen = encoder_of(image)(read(image, heart, tree)).x[:, 0]
    told = encoder_of(BYTES)(read(BYTES, "red heart", "tree")).x[:, 0]
    assert (seen @ told.T).argmax(0).tolist() == [0, 1]


def test_it_refuses_what_is_neither_and_is_sketched_without_its_weights():
    for other in (pm.Vector(2).space, pm.Audio().space):
        assert "pictures" in TrainedEncoder.accepts(other)
    with without_memory(300):
        encoders = [TrainedEncoder(modality.space, 24, tune=True) for modality in (pm.Image(size=100), BYTES)]
    assert {weight.device.type for encoder in encoders for weight in encoder.state_dict().values()} == {"meta"}


def test_tuned_it_begins_where_it_was_and_moves_and_augments():
    image = pm.Image(size=64)
    field = Field.full(normal(make_keys(0, 3), (3, 64, 64)).clamp(-1, 1))
    still, tuned = encoder_of(image), encoder_of(image, tune=True)
    assert all(torch.equal(w, tuned.state_dict()[name]) for name, w in still.state_dict().items())
    assert not torch.equal(tuned(field).x, tuned(field, make_keys(1, 3)).x)
    assert torch.equal(still(field).x, still(field, make_keys(1, 3)).x)
    tokens = tuned(field)
    assert tokens.x.shape == (3, 17, 24)
    tokens.x.square().mean().backward()
    assert all(parameter.grad is not None for parameter in tuned.parameters())


def run_of(world, folder, **encoder):
    part = {"kind": "trained", **encoder}
    recipe = {
        "width": 16,
        "fields": {
            "picture": {"modality": "image", "size": 16, "role": "input", "encoder": part},
            "name": {"modality": "text", "max_length": 16, "tokenizer": "trained", "role": "input", "encoder": part},
            "place": {"modality": "vector", "size": 2, "role": "output",
                      "head": {"kind": "flow", "hidden_size": 16, "depth": 1}},
        },
        "train": {"steps": 2, "batch_size": 4},
    }  # fmt: skip
    return pm.fit(recipe, world / "rows.jsonl", run=folder, print_progress=False)


def test_a_run_holds_a_reference_and_features_but_no_weights_and_is_exported(world, tmp_path):
    model = run_of(world, tmp_path / "run")
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert not [name for name in load_file(checkpoint / "model.safetensors") if name.startswith("encoders.")]
    references = json.loads((checkpoint / "config.json").read_text())["references"]
    assert {references[f"encoders.{name}"]["revision"] for name in ("picture", "name")} == {REVISION}
    assert (tmp_path / "run" / "features" / "picture" / "key").exists()
    given = {"picture": np.zeros((16, 16, 3), dtype=np.uint8), "name": "red disc"}
    assert np.isfinite(model.generate(given, "place")["place"]).all()
    made = export_direction(model.model, ["picture", "name"], "place", tmp_path / "place.onnx")
    assert made.difference < 1e-3


def test_a_run_that_tunes_it_holds_its_weights(world, tmp_path):
    run_of(world, tmp_path / "run", tune=True)
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    names = load_file(checkpoint / "model.safetensors")
    assert [name for name in names if name.startswith("encoders.picture.pictures.")]
    assert [name for name in names if name.startswith("encoders.name.words.")]


def test_words_of_another_vocabulary_become_no_graph(tmp_path):
    fields = {"name": pm.Text(16), "place": pm.Vector(2)}
    recipe = {"width": 16, "fields": {
        "name": {"modality": "text", "max_length": 16, "role": "input", "encoder": {"kind": "trained"}},
        "place": {"modality": "vector", "size": 2, "role": "output", "head": {"kind": "flow", "depth": 1}},
    }}  # fmt: skip
    model = Model(load_recipe(recipe), fields).eval()
    with pytest.raises(ConfigError, match=r"encoder of 'name' reads text by a vocabulary .* `tokenizer: trained`"):
        export_direction(model, ["name"], "place", tmp_path / "place.onnx")
