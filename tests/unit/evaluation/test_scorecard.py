"""The scorecard, of a real tiny run, and of generators whose score is known beforehand."""

import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console

import polymodal as pm
from polymodal.errors import ConfigError
from polymodal.evaluation import Judge, evaluate, single_directions
from polymodal.evaluation.examiner import Examiner


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


def test_one_input_is_used_once(card):
    assert card.score("colour", "name").rows == 3  # colours
    assert card.score("name", "picture").rows == 6  # colours x shapes


def test_the_ceiling_knows_what_the_input_can_tell(card):
    assert card.score("name", "colour").ceiling == 1
    # Two shapes of each colour: whoever knows the colour alone is right about half of the time.
    assert 0.5 <= card.score("colour", "name").ceiling < 0.75
    assert card.score("colour", "picture").ceiling <= card.score("colour", "name").ceiling


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
    assert card.notes == ["picture: not scored, there is no judge of it."]


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
