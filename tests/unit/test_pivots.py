"""Pivots: what is drawn through another field, where held-out rows say that it pays, and what is not."""

import json

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.cli.main import main
from polymodal.condition import FEATURES
from polymodal.config import load_recipe
from polymodal.errors import CheckpointError, ConfigError
from polymodal.generation import generate_rows
from polymodal.guess import guess_rows
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.packaging.merging import merge
from polymodal.pivots import HeldOutLosses, choose_pivots, choose_screens
from polymodal.resolution import resolve
from refusals import refused

CORNERS = np.array([[-2.0, -2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, 2.0]])
TONES = np.array([[-3.0, 0.0, 1.0], [0.0, 3.0, -1.0], [3.0, 1.0, 0.0], [1.0, -3.0, 2.0]])
FIELDS = {
    "place": {"modality": "vector", "size": 2},
    "kind": {"modality": "label"},
    "tone": {"modality": "vector", "size": 3},
    "noise": {"modality": "label"},
}
RECIPE = {
    "width": 32,
    "fields": {name: field | {"head": {"kind": "mixture"}} for name, field in FIELDS.items() if "size" in field},
    "fusion": {"kind": "attention", "depth": 1},
    "tasks": {"none": 0.1, "one": 0.5, "some": 0.4},
    "train": {"steps": 300, "batch_size": 32, "learning_rate": 5e-3},
}


@pytest.fixture(scope="module")
def data():
    """Rows whose kind tells place and tone, of which no training row has both; and a label that tells nothing."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(480):
        kind = number % 4
        row = {
            "place": (CORNERS[kind] + 0.3 * random.normal(size=2)).tolist(),
            "kind": f"kind {kind}",
            "tone": (TONES[kind] + 0.3 * random.normal(size=3)).tolist(),
            "noise": f"noise {random.integers(3)}",
            "split": "train" if number < 400 else "validation",
        }
        rows.append(row | {("place", "tone")[number // 4 % 2]: None} if number < 400 else row)
    return pm.load(rows, FIELDS)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pivots"
    pm.fit(RECIPE, data, run=folder, print_progress=False)
    return folder


@pytest.fixture(scope="module")
def held_out(data):
    rows = data.validation
    return rows.decode(rows.batch(torch.arange(len(rows))))


def drawn(model, batch, pivots, given, to, rows):
    """Fields ``to`` of the first rows, by a model with these pivots."""
    model.recipe = model.recipe.model_copy(update={"pivots": pivots})
    batch = {name: batch[name].pick(torch.arange(rows)) for name in given}
    masks = {name: torch.as_tensor(mask).expand(rows) for name, mask in given.items()}
    wanted = {name: torch.as_tensor(mask).expand(rows) for name, mask in to.items()}
    return generate_rows(model, batch, masks, wanted, make_keys(0, rows))


def test_pairs_that_no_training_row_has_are_drawn_through_what_both_have(run, data):
    generator = pm.open(run)
    assert generator.model.recipe.pivots == {"place": {"tone": "kind"}, "tone": {"place": "kind"}}
    kinds, shares = np.arange(80) % 4, []  # of the rows, in their order
    for pivots in (generator.model.recipe.pivots, {}):
        generator.model.recipe = generator.model.recipe.model_copy(update={"pivots": pivots})
        made = generator.generate_batch([{"place": row["place"]} for row in data.validation], to=["tone"], seed=0)
        tones = np.stack([row["tone"] for row in made])
        shares.append((np.linalg.norm(tones[:, None] - TONES, axis=2).argmin(1) == kinds).mean())
    assert shares[0] > 0.6
    assert shares[0] > shares[1] + 0.3


def test_a_field_drawn_through_another_is_as_if_the_likeliest_of_that_were_given(run, held_out):
    model, pivots = pm.open(run).model, {"tone": {"place": "kind"}}
    made = drawn(model, held_out, pivots, {"place": True}, {"tone": True}, 12)
    assert made.keys() == {"tone"}
    model.heads["kind"].options = type(model.heads["kind"].options)(temperature=0.0)
    both = drawn(model, held_out, {}, {"place": True}, {"kind": True, "tone": True}, 12)
    assert torch.equal(made["tone"].value, both["tone"].value)


def test_a_pivot_that_is_given_or_asked_for_is_left_as_it_is_row_by_row(run, held_out):
    model, pivots = pm.open(run).model, {"tone": {"place": "kind"}}
    third, half = torch.arange(12) % 3 == 0, torch.arange(12) % 2 == 0
    given, to = {"place": ~half, "kind": third}, {"tone": True, "kind": ~third & half}
    mixed = drawn(model, held_out, pivots, given, to, 12)
    assert torch.equal(mixed["kind"].present, to["kind"])
    whole = drawn(model, held_out, pivots, {"place": True}, {"tone": True}, 12)["tone"].value
    direct = drawn(model, held_out, {}, given, to, 12)
    same, through = (mixed["tone"].value == direct["tone"].value).all(1), ~half & ~third
    assert torch.equal(same, ~through)
    assert torch.equal(mixed["tone"].value[through], whole[through])
    assert torch.equal(mixed["kind"].value, direct["kind"].value)


def test_what_is_drawn_through_another_is_seen_by_that_alone(run, held_out):
    model, given = pm.open(run).model, {"noise": True, "place": True}
    both = drawn(model, held_out, {"tone": {"place": "kind"}}, {"place": True}, {"tone": True, "noise": True}, 12)
    alone = drawn(model, held_out, {}, {"place": True}, {"noise": True}, 12)
    assert torch.equal(both["noise"].value, alone["noise"].value)
    with_noise = {**held_out, "noise": both["noise"]}
    tone = drawn(model, with_noise, {"tone": {"place": "kind"}}, given, {"tone": True}, 12)["tone"]
    assert torch.equal(both["tone"].value, tone.value)


def test_best_guesses_of_cells_are_made_through_them(run, held_out):
    model, everywhere = pm.open(run).model, torch.ones(80, dtype=torch.bool)
    shares = []
    for pivots in (model.recipe.pivots, {}):
        model.recipe = model.recipe.model_copy(update={"pivots": pivots})
        guess = guess_rows(model, held_out, {"place": everywhere}, {"tone": everywhere}, make_keys(0, 80))["tone"]
        means = torch.stack([held_out["tone"].value[kind::4].mean(0) for kind in range(4)])
        shares.append((torch.cdist(guess.value, means).argmin(1) == torch.arange(80) % 4).float().mean())
    assert shares[0] > shares[1] + 0.3


def test_what_was_kept_of_a_value_is_not_taken_for_that_of_another(run, held_out):
    model, everywhere = pm.open(run).model, torch.ones(80, dtype=torch.bool)
    batch = held_out | {"kind" + FEATURES: held_out["kind"]}
    given = model.condition(batch, {"place": everywhere}, make_keys(0, 80)).give_likeliest("kind")
    assert "kind" + FEATURES not in given.batch
    assert "kind" + FEATURES in batch


def test_a_wide_table_and_a_short_time_bound_the_choice(run, data, monkeypatch):
    model = pm.open(run).model
    assert choose_pivots(HeldOutLosses(model, data.validation, seconds=-1.0)) == {}
    parts = choose_pivots(HeldOutLosses(model, data.validation, batch_size=10))
    assert parts == model.recipe.pivots
    monkeypatch.setattr("polymodal.pivots.MOST_PASSES", 3)  # those of the largest field and its first input
    assert choose_pivots(HeldOutLosses(model, data.validation)) == {"tone": {"place": "kind"}}


def test_the_mean_of_two_runs_has_pivots_only_where_both_have_them(run):
    one, two = pm.open(run).model, pm.open(run).model
    assert merge([one, two]).recipe.pivots == two.recipe.pivots
    two.recipe = two.recipe.model_copy(update={"pivots": {}})
    assert merge([one, two]).recipe.pivots == {}


def test_a_run_keeps_its_choice_and_one_that_is_done_has_it_again(run, data, tmp_path):
    chosen = pm.open(run).model.recipe.pivots
    assert choose_pivots(HeldOutLosses(pm.open(run).model, data.validation)) == chosen
    again = pm.fit(RECIPE, data, run=run, print_progress=False)
    assert again.model.recipe.pivots == chosen
    assert pm.fit(again.model.recipe, data, run=run, print_progress=False).model.recipe.pivots == chosen
    with pytest.raises(CheckpointError, match=r"recipe\.pivots"):
        pm.fit(RECIPE, data, run=run, set={"pivots": {}}, print_progress=False)
    newest = max((run / "checkpoints").iterdir())
    assert json.loads((newest / "config.json").read_text())["recipe"]["pivots"] == chosen
    none = pm.fit(RECIPE, data, run=tmp_path / "none", set={"pivots": {}, "train.steps": 2}, print_progress=False)
    assert none.model.recipe.pivots == {}


@pytest.mark.parametrize(
    ("pivots", "message"),
    [
        ({"kind": {"place": "noise"}}, ("pivots: 'kind' cannot be drawn through others", "place, tone")),
        ({"tones": {"place": "kind"}}, ("pivots: 'tones' cannot be drawn through others", "place, tone")),
        ({"tone": {"plac": "kind"}}, ("pivots.tone: 'plac' is unknown", "'place'")),
        ({"tone": {"place": "place"}}, ("pivots.tone.place: 'place' cannot be drawn first", "kind, noise")),
        ({"tone": {"kind": "kind"}}, ("pivots.tone.kind: 'kind' cannot be drawn first", "(noise)")),
    ],
)
def test_pivots_that_cannot_be_are_refused(data, pivots, message):
    recipe = resolve(load_recipe(RECIPE, {"pivots": pivots}), data.fields)
    with refused(*message, by=ConfigError):
        Model(recipe, data.fields)


def test_info_tells_of_them(run, capsys):
    assert main(["info", str(run)]) == 0
    said = capsys.readouterr().out
    assert "tone from place is drawn through kind" in said
    assert "tone is drawn apart from place beside kind" in said


def test_what_tells_nothing_beside_another_is_not_shown_if_it_was_generated(run, data, held_out):
    model = pm.open(run).model
    assert model.recipe.screens == choose_screens(HeldOutLosses(model, data.validation), model.recipe.pivots)
    assert model.recipe.screens["tone"]["place"] == ["kind"]  # the noise leaves it open
    to = {"place": True, "tone": True}
    apart = drawn(model, held_out, {}, {"kind": True}, to, 12)
    alone = drawn(model, held_out, {}, {"kind": True}, {"tone": True}, 12)
    assert torch.equal(apart["tone"].value, alone["tone"].value)
    both = {"kind": True, "place": True}
    given = drawn(model, held_out, {}, both, {"tone": True}, 12)
    model.recipe = model.recipe.model_copy(update={"screens": {}})
    shown = drawn(model, held_out, {}, {"kind": True}, to, 12)
    assert not torch.equal(shown["tone"].value, alone["tone"].value)
    assert torch.equal(given["tone"].value, drawn(model, held_out, {}, both, {"tone": True}, 12)["tone"].value)


@pytest.mark.parametrize(
    ("screens", "message"),
    [
        ({"tones": {"place": ["kind"]}}, ("screens: 'tones' is unknown", "'tone'")),
        ({"tone": {"plac": ["kind"]}}, ("screens.tone.plac: 'plac' is unknown", "'place'")),
        ({"tone": {"place": ["kinds"]}}, ("screens.tone.place: 'kinds' is unknown", "'kind'")),
        ({"tone": {"place": []}}, ("screens.tone.place: names no field",)),
    ],
)
def test_screens_that_cannot_be_are_refused(data, screens, message):
    recipe = resolve(load_recipe(RECIPE, {"screens": screens}), data.fields)
    with refused(*message, by=ConfigError):
        Model(recipe, data.fields)


def test_an_exported_direction_tells_what_it_leaves_out(run, tmp_path, capsys):
    assert main(["export", str(run), "--direction", "place->tone", "-o", str(tmp_path / "tone.onnx"), "--alone"]) == 0
    said = capsys.readouterr().out
    assert "draws kind first" in said
    assert "place->kind with --option kind.temperature=0" in said
    assert "place+kind->tone" in said
