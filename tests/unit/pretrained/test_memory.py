"""Towers are in memory while they are needed: not while the rest trains, whatever it looked at in between."""

import weakref

import numpy as np
import pytest
import torch
from torch import nn

import polymodal as pm
import tiny_models
from polymodal.data import Rows
from polymodal.model import Model
from polymodal.pretrained import LazyNetwork

pytest.importorskip("transformers")
pytest.importorskip("diffusers")


@pytest.fixture
def recipe(tmp_path):
    autoencoder = str(tiny_models.autoencoder(tmp_path / "vae", "AutoencoderTiny"))
    bert, clip = (str(getattr(tiny_models, kind)(tmp_path / kind)) for kind in ("bert", "clip"))
    return {
        "fields": {
            "p": {"modality": "image", "size": 16, "codec": {"kind": "pretrained", "model": autoencoder},
                  "encoder": {"kind": "pretrained", "model": clip},
                  "head": {"kind": "flow", "channels": [8], "patch": 1, "repeats": 1, "steps": 2}},
            "t": {"modality": "text", "max_length": 16, "role": "input",
                  "encoder": {"kind": "pretrained", "model": bert}},
        },
        "width": 16,
        "fusion": {"kind": "attention", "depth": 1, "heads": 2},
        "train": {"steps": 4, "batch_size": 4, "validate_every": 0.4},
        "data": {"validation": 0.25, "test": 0.0},
    }  # fmt: skip


def rows(count: int) -> list[dict[str, object]]:
    random = np.random.default_rng(0)
    return [{"p": random.integers(0, 256, (16, 16, 3), dtype=np.uint8), "t": f"row {k}"} for k in range(count)]


def watch(monkeypatch, kind: type, name: str, before=None, after=None) -> None:
    """Has a method of a class told of, around each call."""
    method = getattr(kind, name)

    def called(self, *arguments, **named):
        if before:
            before(self)
        result = method(self, *arguments, **named)
        if after:
            after(result)
        return result

    monkeypatch.setattr(kind, name, called)


def test_no_tower_is_there_while_the_rest_trains_and_all_are_back_to_generate(recipe, tmp_path, monkeypatch):
    towers: dict[int, weakref.ref[nn.Module]] = {}
    alive: list[list[str]] = []
    watch(monkeypatch, LazyNetwork, "on", after=lambda network: towers.setdefault(id(network), weakref.ref(network)))

    def note(model: nn.Module) -> None:
        if model.training and torch.is_grad_enabled():
            alive.append([type(tower()).__name__ for tower in towers.values() if tower() is not None])

    watch(monkeypatch, Model, "forward", before=note)
    run = pm.fit(recipe, rows(12), run=tmp_path / "run")
    assert len(towers) >= 3
    assert alive == [[]] * 4
    steps = sorted((run.run / "samples").iterdir())
    assert len(steps) > 1  # autoencoders were there in between, to make what is shown
    made = run.generate({"t": "row 3"}, to="p")["p"][0]
    assert [tower for tower in towers.values() if tower() is not None]
    np.testing.assert_array_equal(made, pm.open(run.run).generate({"t": "row 3"}, to="p")["p"][0])


def test_a_shard_s_towers_go_once_it_is_read(recipe, tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"t": [f"row {k}" for k in range(24)], "c": ["a", "b"] * 12})
    for part in range(3):
        pq.write_table(table.slice(8 * part, 8), tmp_path / f"rows-{part}.parquet")
    fields = {
        "t": recipe["fields"]["t"],
        "c": {"modality": "label", "head": {"kind": "masked", "depth": 1, "heads": 2}},
    }
    recipe = recipe | {"fields": fields, "data": {"shards": {"window": 1}, "validation": 0.0, "test": 0.0}}
    networks: list[weakref.ref[nn.Module]] = []
    watch(monkeypatch, LazyNetwork, "on", after=lambda network: networks.append(weakref.ref(network)))
    run = pm.fit(recipe, str(tmp_path / "rows-{0..2}.parquet"), run=tmp_path / "run")
    assert isinstance(run.data().train, Rows)
    assert networks
    assert run.model.encoders["t"]._network.network is None
    assert not [network for network in networks if network() is not None]
