"""The scorecard, of a real tiny run, and of generators whose score is known beforehand."""

import io
import json
from copy import copy

import numpy as np
import pytest
import torch
from rich.console import Console

import polymodal as pm
from conftest import FIELDS
from polymodal.config import load_recipe
from polymodal.errors import ConfigError
from polymodal.evaluation import Judge, evaluate, single_directions
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.scorecard import distribution_metrics
from polymodal.evaluation.scorecard.evaluator import Evaluator
from polymodal.model import Model


@pytest.fixture(scope="module")
def run(trained):
    return pm.open(trained)


@pytest.fixture(scope="module")
def model(run):
    return run.model


@pytest.fixture(scope="module")
def rows(run):
    return run.data().train


@pytest.fixture(scope="module")
def judge(rows):
    return Judge.train(rows, steps=80, batch_size=12, width=32)


@pytest.fixture(scope="module")
def card(model, rows, judge):
    return evaluate(model, rows, judge=judge, training=rows, n_rows=8, samples=4)


def test_every_direction_is_scored(card, model):
    assert len(single_directions(model)) == 20
    assert {score.direction for score in card.scores} == {
        f"{inputs[0]} → {output}" for inputs, output in single_directions(model)
    }
    for score in card.scores:
        assert np.isfinite(score.value)
        assert score.low <= score.value <= score.high
        assert 1 <= score.rows <= 8
    assert card.score("picture", "name").metric == "exact match"
    assert card.score("picture", "name", "character").higher_is_better is False
    with pytest.raises(ConfigError, match="scorecard: 'picture → nam' is unknown; did you mean 'picture → name'"):
        card.score("picture", "nam")


def test_it_is_the_same_every_time(card, model, rows, judge):
    again = evaluate(model, rows, judge=judge, training=rows, n_rows=8, samples=4)
    assert again.to_json() == card.to_json()
    assert again.scores == card.scores


def test_json_tells_what_the_scores_depend_on(card, rows, judge, tmp_path):
    card.to_json(tmp_path / "scores.json")
    document = json.loads((tmp_path / "scores.json").read_text())
    assert document["facts"]["data"] == rows.fingerprint
    assert document["facts"]["judge"]["hash"] == judge.hash
    assert "seconds" not in document["scores"][0]
    assert card.table().row_count == len(card.scores)


def test_its_table_fits_a_terminal(card):
    console = Console(width=80, file=io.StringIO())
    console.print(card.table())
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(f"{score.value:.3f}" in console.file.getvalue() for score in card.scores) == len(card.scores)


def test_every_pair_of_input_and_output_is_scored_once(model, rows, judge):
    directions = [(["colour"], "name"), (["name"], "picture"), (["picture"], "colour")]
    card = evaluate(model, rows, judge=judge, training=rows, directions=directions)
    slots = {name: rows.columns[name].slots for name in ("picture", "name", "colour")}

    def pairs(first, second):
        both = (slots[first] >= 0) & (slots[second] >= 0)
        return len({*zip(slots[first][both].tolist(), slots[second][both].tolist(), strict=True)})

    assert card.score("colour", "name").rows == 6  # colours x shapes
    assert card.score("name", "picture").rows == pairs("name", "picture") > 6
    assert card.score("picture", "colour").rows == pairs("picture", "colour")


def test_one_answer_is_the_likeliest_and_everything_else_is_drawn(model, rows, monkeypatch):
    monkeypatch.setattr(distribution_metrics, "FEWEST_ROWS", 5)
    asked, watched = [], copy(model)

    def sample(batch, visible, to, keys, options=None):
        asked.append(options)
        return model.sample(batch, visible, to, keys, options)

    watched.sample = sample
    evaluate(watched, rows, n_rows=12, directions=[(["picture"], "name")])
    assert asked == [{"name": {"temperature": 0.0}}, {"name": {}}]
    asked.clear()
    evaluate(watched, rows, n_rows=12, directions=[(["picture"], "name")], options={"name": {"temperature": 0.5}})
    assert asked == [{"name": {"temperature": 0.5}}]


@pytest.mark.parametrize("kind", ["vae", "masked", "autoregressive"])
def test_pictures_are_scored_as_they_are_generated(recipe, rows, kind):
    picture = FIELDS["picture"] | {"head": {"kind": kind}} | ({} if kind == "vae" else {"codec": {"kind": "fsq"}})
    settings = {**recipe, "fields": {"picture": picture, "colour": FIELDS["colour"]}, "defaults": {}}
    drawn = Model(load_recipe(settings), {name: rows.fields[name] for name in ("picture", "colour")})
    evaluator = Evaluator(drawn, rows, None, None, n_rows=4, n_samples=1, shown=1, seed=0, options={})
    assert "temperature" in drawn.heads["picture"].option_names
    assert evaluator.answer_options("picture") == {}
    assert evaluator.answer_options("colour") == {"temperature": 0.0}


def test_the_ceiling_knows_what_the_input_can_tell(card):
    assert card.score("name", "colour").ceiling == 1
    # Two shapes of each colour: whoever knows the colour alone is right about half of the time.
    assert 0.5 <= card.score("colour", "name").ceiling < 0.75
    assert card.score("colour", "picture").ceiling < 0.75


def test_failures_come_first(card):
    for samples in card.samples.values():
        assert 1 <= len(samples) <= 4
        right = [sample.right is not False for sample in samples]
        assert right == sorted(right)


def test_many_inputs_and_one(model, rows, judge):
    card = evaluate(model, rows, judge=judge, n_rows=4, directions=[(["name", "place"], "picture")])
    assert {score.direction for score in card.scores} == {"name + place → picture"}
    assert set(card.samples["name + place → picture"][0].given) == {"name", "place"}


def test_without_a_judge_the_rest_is_scored(model, rows):
    card = evaluate(model, rows, n_rows=4, directions=[(["name"], "picture"), (["name"], "colour")])
    assert {score.direction for score in card.scores if score.aspect == "coherence"} == {"name → colour"}
    assert "picture: not scored, there is no judge of it." in card.notes
    assert any("name → picture: its samples are not measured as a set, as there are 4 rows" in n for n in card.notes)


def test_wrong_directions_are_refused(model, rows):
    with pytest.raises(ConfigError, match="to: 'pictur' is unknown; did you mean 'picture'"):
        evaluate(model, rows, directions=[(["name"], "pictur")])
    some = pm.load([{"name": "red disc"}], {"name": pm.Text(max_length=16)}, test=0, validation=0).train
    with pytest.raises(ConfigError, match="name → colour: the data has no field 'colour'"):
        evaluate(model, some, directions=[(["name"], "colour")])


def measured(rows, judge, given, to, change):
    """Outcomes of a generator that gives ``change(real)``."""
    own = rows.select(rows.present[given] & rows.present[to] & rows.present["name"])
    batch = own.decode(own.batch(np.arange(len(own))))
    return own, batch, Examiner(rows, judge).measure(own, [given], to, batch, change(batch[to]))


@pytest.mark.parametrize("to", ["picture", "tone", "name", "colour", "place"])
def test_a_perfect_generator_reaches_the_ceiling(rows, judge, to):
    given = "name" if to == "picture" else "picture"
    for outcome in measured(rows, judge, given, to, lambda field: field)[2]:
        weights = np.ones(len(outcome.values)) if outcome.weights is None else outcome.weights
        assert outcome.values.sum() / weights.sum() >= outcome.ceiling if outcome.is_right else not outcome.values.any()


def test_a_generator_that_always_gives_one_sample_is_at_chance(rows, judge):
    outcome = measured(rows, judge, "name", "picture", lambda f: f.pick(torch.zeros(len(f), dtype=torch.int64)))[2][0]
    assert outcome.ceiling >= 0.8
    assert outcome.values.mean() < 0.5 * outcome.ceiling


def test_without_names_a_row_must_find_itself(run):
    rows = run.data().train
    bare = rows.only("picture", "place")
    bare.fields = {name: rows.fields[name] for name in ("picture", "place")}
    judge = Judge.train(bare, steps=30, batch_size=12, width=32)
    assert judge.naming is None
    own = bare.select(bare.present["picture"] & bare.present["place"])
    batch = own.decode(own.batch(np.arange(len(own))))
    real, shuffled = (
        Examiner(bare, judge).measure(own, ["place"], "picture", batch, made)[0]
        for made in (batch["picture"], batch["picture"].pick(torch.arange(len(own)).roll(1)))
    )
    assert real.metric == "judge's recall@1"
    assert real.values.mean() == real.ceiling > 2 * real.chance
    assert shuffled.values.mean() < real.values.mean()
