"""Files of ONNX draw what PyTorch draws, of every head; what cannot be exported is refused by name."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.cli.main import main
from polymodal.config import load_recipe
from polymodal.errors import ConfigError
from polymodal.export import CLOSE, export_direction, parse_direction
from polymodal.export.direction import Direction
from polymodal.export.onnx_file import made_up
from polymodal.modalities import Image, Label, Series, Text, Vector
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.nn.shapes import fixed_shapes

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

SMALL = {"depth": 1, "heads": 2}
FLOW = {"kind": "flow", **SMALL}
HEADS = {
    "autoregressive": ("text", {"kind": "autoregressive", **SMALL, "guidance": 2.0, "norm": "rms"}, None),
    "recurrent": ("text", {"kind": "recurrent", "depth": 2, "top_p": 0.9}, None),
    "masked text": ("text", {"kind": "masked", **SMALL, "steps": 3, "guidance": 2.0}, None),
    "masked codes": (
        "image",
        {"kind": "masked", **SMALL, "steps": 4, "guidance": 2.0},
        {"kind": "fsq", "levels": [5, 5], "channels": [8], "patch": 4},
    ),
    "flow by euler": ("vector", {**FLOW, "steps": 10, "solver": "euler", "guidance_interval": [0.0, 0.6]}, None),
    "flow by midpoint": ("vector", {**FLOW, "steps": 10, "solver": "midpoint", "guidance_interval": [0.1, 0.6]}, None),
    "flow by shortcuts": ("vector", {**FLOW, "steps": 4, "shortcuts": 1}, None),
    "flow by a U-Net": ("image", {"kind": "flow", "channels": [8, 8], "patch": 2, "steps": 5}, None),
    "flow through a codec": (
        "image",
        {**FLOW, "steps": 6},
        {"kind": "kl", "latent": 4, "channels": [8], "patch": 4},
    ),
    "mixture": ("vector", {"kind": "mixture", "heads": 2}, None),
    "vae of texts": ("text", {"kind": "vae", "latent": 4, "hidden_size": 16, **SMALL}, None),
    "vae of pictures": ("image", {"kind": "vae", "latent": 4, "hidden_size": 16, "prior": "flow"}, None),
    "gan": ("image", {"kind": "gan", "noise": 4, "hidden_size": 16}, None),
    "decoder": ("text", {"kind": "decoder", **SMALL, "hidden_size": 16}, None),
}


def model_of(kind, head, codec, fusion="attention"):
    """A model of a text, a picture or a vector from a label and a vector, all of whose weights are something."""
    field = {"modality": kind, "role": "output", "head": head} | ({"codec": codec} if codec else {})
    given = {
        "colour": {"modality": "label", "role": "input"},
        "place": {"modality": "vector", "role": "input", "size": 2},
    }
    recipe = load_recipe({"width": 16, "fusion": {"kind": fusion}, "fields": {"out": field, **given}})
    made = {"text": Text(max_length=12), "image": Image(size=16), "vector": Vector(size=3)}[kind]
    torch.manual_seed(0)
    model = Model(recipe, {"out": made, "colour": Label(names=["a", "b"]), "place": Vector(size=2)}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_every_head_draws_the_same(name, tmp_path):
    done = export_direction(model_of(*HEADS[name]), ["colour", "place"], "out", tmp_path / "model.onnx", rows=2)
    assert done.difference <= CLOSE
    assert done.path.stat().st_size == done.file_bytes


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["bottleneck", "concatenation", "gated", "graph", "tensor", "poe"])
def test_every_fusion_tells_the_same(fusion, tmp_path):
    model = model_of("vector", {"kind": "mixture", "heads": 2}, None, fusion)
    assert export_direction(model, ["colour", "place"], "out", tmp_path / "model.onnx").difference <= CLOSE


@pytest.mark.slow
def test_a_context_of_one_token_is_attended_to(tmp_path):
    """Its keys and values lie one after the other as they are, and no two inputs of a loop may share memory."""
    model = model_of("text", {"kind": "autoregressive", **SMALL}, None, "poe")
    assert export_direction(model, ["colour"], "out", tmp_path / "model.onnx").difference <= CLOSE


def test_values_in_step_see_where_what_is_given_is():
    head = {**FLOW, "in_step": True, "steps": 2}
    fields = {
        "heard": {"modality": "series", "max_seconds": 1.6, "encoder": {"kind": "patches", "patch": 2, **SMALL}},
        "out": {"modality": "series", "max_seconds": 0.8, "head": head, "role": "output"},
    }
    recipe = load_recipe({"width": 16, "fields": fields})
    made = {"heard": Series(max_seconds=1.6), "out": Series(max_seconds=0.8)}
    torch.manual_seed(0)
    model = Model(recipe, made).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    keys, present = make_keys(0, 4), torch.tensor([True, True, True, False])
    heard = made_up(made["heard"].space, keys)
    value, mask = Direction(model, ["heard"], "out").eval()(keys, heard.value, heard.mask & present[:, None])
    with fixed_shapes():
        own = model.sample({"heard": heard}, {"heard": present}, {"out": torch.ones_like(present)}, keys)["out"]
    assert torch.equal(mask, own.mask)
    torch.testing.assert_close(value, own.value, rtol=CLOSE, atol=CLOSE)


def test_a_file_draws_what_the_run_draws_without_polymodal(trained, tmp_path):
    """The sample of a seed by the runner alone, in a process that has no polymodal, with either input absent."""
    file = tmp_path / "files" / "name.onnx"
    command = [
        "export",
        str(trained),
        "--direction",
        "colour+place->name",
        "-o",
        str(file),
        "--option",
        "name.top_p=0.9",
    ]
    assert main(command) == 0
    own = pm.open(trained)
    for given, words in (({"colour": "red"}, ["--colour", "red"]), ({"place": [7, 8]}, ["--given", "place=7,8"])):
        expected = own.generate(given, to="name", n=2, seed=4, options={"name": {"top_p": 0.9}})["name"]
        runner = [sys.executable, "-I", str(file.with_name("runner.py")), str(file), "-n", "2", "--seed", "4"]
        done = subprocess.run(
            [*runner, "-o", str(tmp_path / "out"), *words], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        made = [(tmp_path / "out" / f"name-{k}.txt").read_bytes().decode()[:-1] for k in range(2)]
        assert made == list(expected)
    page = file.with_name("demo.html").read_text(encoding="utf-8")
    assert '"name.onnx"' in page
    assert "MODEL_FILE" not in page
    assert not [line for line in page.splitlines() if "src=" in line and "://" in line]


@pytest.mark.parametrize(
    ("direction", "said"),
    [
        ("picture", "is not of the form name->picture"),
        ("sound->picture", "sound"),
        ("name->name", "'name' is given"),
        ("name+name->picture", "names a field twice"),
    ],
)
def test_wrong_directions_are_refused(trained, direction, said):
    with pytest.raises(ConfigError, match=said):
        parse_direction(direction, pm.open(trained).model)


def test_what_cannot_be_a_graph_is_refused_by_name(tmp_path, monkeypatch):
    model = model_of("vector", {"kind": "gan", "noise": 4, "hidden_size": 16}, None)
    with pytest.raises(ConfigError, match=r"place->out: is not exported: truncation"):
        export_direction(model, ["place"], "out", tmp_path / "model.onnx", options={"truncation": 1.0})
    with pytest.raises(ConfigError, match="rows: 0"):
        export_direction(model, ["place"], "out", tmp_path / "model.onnx", rows=0)
    monkeypatch.setattr(type(model.encoders["place"]), "digest", "of a tower")
    with pytest.raises(ConfigError, match="the encoder of 'place' brings weights of its own"):
        export_direction(model, ["place"], "out", tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_metadata_are_json(trained):
    for name, modality in pm.open(trained).fields.items():
        facts = modality.portable()
        assert json.loads(json.dumps(facts)) == facts, name
        assert np.isfinite([x for x in facts.values() if isinstance(x, float)]).all()
