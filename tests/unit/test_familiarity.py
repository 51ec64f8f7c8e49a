"""Familiarity: what was seen, what is like it, and what is not."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.cli.main import main
from polymodal.errors import ConfigError
from polymodal.familiarity import FILE, FamiliarityMeter

COLOURS = ["red", "green", "blue", "yellow", "black", "white", "orange", "purple", "silver", "golden"]
THINGS = [
    *("apple", "car", "house", "tree", "bird", "fish", "boat", "lamp", "chair", "table", "cup", "shoe", "hat", "ring"),
    *("book", "dog", "cat", "cow", "goat", "door", "wall", "plate", "spoon", "fork", "knife", "coat", "sock", "glove"),
]
NONSENSE = ["zorb quexil", "qqqq", "wmnop kst", "xylofrag 77", "blargh unnt", "pfffft!", "vrtx gnn", "ouiaeo uo"]
RECIPE = {
    "width": 32,
    "fields": {
        "name": {"modality": "text", "max_length": 24, "role": "input", "encoder": {"kind": "sequence", "depth": 1}},
        "place": {"modality": "vector", "size": 2, "role": "input"},
        "colour": {"modality": "label"},
    },
    "train": {"steps": 60, "batch_size": 32, "learning_rate": 3e-3},
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    random = np.random.default_rng(0)
    rows = [
        {"name": f"{colour} {thing}", "place": random.normal(size=2).tolist(), "colour": colour}
        for colour, thing in product(COLOURS, THINGS)
    ]
    fields = {"name": {"modality": "text", "max_length": 24}, "place": {"modality": "vector", "size": 2}}
    data = pm.load(rows, fields | {"colour": {"modality": "label"}}, validation=0.3, test=0.2)
    return pm.fit(RECIPE, data, run=tmp_path_factory.mktemp("runs") / "names", print_progress=False), data


def test_nonsense_and_unknown_words_are_told_from_what_was_seen(pipeline):
    model, data = pipeline
    seen = [model.familiarity({"name": row["name"]})["name"] for row in data.train.unique("name")]
    strange = [model.familiarity({"name": name})["name"] for name in NONSENSE]
    assert min(one.share for one in seen) == 1.0
    assert all(one.unfamiliar and one.unknown_words for one in strange)
    assert "zorb" in strange[0].sentence("name")
    mixed = model.familiarity({"name": "red giraffe"})["name"]
    assert mixed.unfamiliar
    assert mixed.unknown_words == ("giraffe",)


def test_shares_are_calibrated_on_rows_that_nothing_has_seen(pipeline):
    model, data = pipeline
    shares = np.array([model.familiarity(row)["place"].share for row in data.test])
    for level in (0.1, 0.3, 0.5, 0.7):
        assert abs((shares <= level).mean() - level) < 4 * np.sqrt(level * (1 - level) / len(shares)) + 0.02
    far = model.familiarity({"place": [40.0, -30.0]})["place"]
    assert far.share == 0.0
    assert not far.unknown_words


def test_a_run_keeps_what_it_needs_and_an_older_run_learns_it(pipeline, tmp_path):
    model, data = pipeline
    opened = pm.open(model.run)
    given = {"name": "green apple", "place": [0.3, 0.2]}
    assert opened.familiarity(given, learn=False) == model.familiarity(given)
    learned = FamiliarityMeter.learn(opened.model, data.train, data.validation)
    assert learned(given) == model.familiarity(given)
    assert FamiliarityMeter.load(opened.model, tmp_path) is None
    learned.save(tmp_path)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:100])
    assert FamiliarityMeter.load(opened.model, tmp_path) is None
    learned._known["name"] = replace(learned._known["name"], mean=torch.zeros(3))
    learned.save(tmp_path)
    assert FamiliarityMeter.load(opened.model, tmp_path) is None
    with pytest.raises(ConfigError, match="nme"):
        model.familiarity({"nme": "red apple"})


def test_the_command_line_says_what_is_unfamiliar(pipeline, tmp_path, capsys):
    run = pipeline[0].run
    for name, told in (("zorb quexil", True), (next(iter(pipeline[1].train))["name"], False)):
        assert main(["generate", str(run), "--name", name, "--to", "colour", "-o", str(tmp_path)]) == 0
        assert ("unlike what the model learned" in capsys.readouterr().err) == told


def test_where_held_out_values_were_all_seen_nothing_new_is_familiar(pipeline):
    model, data = pipeline
    meter = FamiliarityMeter.learn(model.model, data.train, data.train)
    assert {meter({"name": row["name"]})["name"].share for row in data.train.unique("name")} == {1.0}
    assert {meter({"name": row["name"]})["name"].share for row in data.test} == {0.0}
