"""Scores of cells, and confidences of a tiny run."""

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.evaluation import Judge
from polymodal.evaluation.calibration import Calibration, calibrate, expected_calibration_error
from polymodal.evaluation.calibration.confidence import _report
from polymodal.evaluation.calibration.scored_cells import ScoredCells, collect, patterns, score_cells
from polymodal.evaluation.examiner import Examiner
from polymodal.generation import generate_rows
from polymodal.nn.random import make_keys
from polymodal.types import Field

FAST = {"picture": {"steps": 1}, "tone": {"steps": 1}, "place": {"steps": 1}, "name": {"max_length": 10}}


@pytest.fixture(scope="module")
def run(trained):
    return pm.open(trained)


@pytest.fixture(scope="module")
def rows(run):
    return run.data().train


@pytest.fixture(scope="module")
def judge(rows):
    return Judge.train(rows, steps=20, batch_size=12, width=32)


@pytest.fixture(scope="module")
def calibration(run, rows, judge):
    return calibrate(run.model, rows, judge=judge, cells=200, options=FAST)


def batch_of(rows):
    return rows.decode(rows.batch(np.arange(len(rows))))


def test_likelihoods_of_all_labels_sum_to_one(run, rows):
    """Of a field alone and of one that follows another, the chain's order as in sampling."""
    model, batch = run.model, batch_of(rows)
    visible = {"name": batch["name"].present}
    keys, everywhere = make_keys(0, len(rows)), torch.ones(len(rows), dtype=torch.bool)
    made = model.sample(batch, visible, {"name": ~visible["name"], "colour": everywhere}, keys)
    total = torch.zeros(len(rows))
    for number in range(3):
        label = Field(torch.full((len(rows), 1), number), everywhere[:, None], everywhere)
        told = model.log_likelihood(batch, visible, {"name": made["name"], "colour": label}, keys)
        total += told["colour"].exp()
        assert not told["name"][visible["name"]].any()
        assert (told["name"][~visible["name"]] < 0).all()
    torch.testing.assert_close(total, torch.ones(len(rows)))


def test_a_field_that_follows_another_is_told_of_it(run, rows):
    model, batch = run.model, batch_of(rows)
    own = torch.arange(len(rows))[batch["colour"].present & batch["name"].present & batch["place"].present]
    batch = {name: field.pick(own) for name, field in batch.items()}
    everywhere, keys = torch.ones(len(own), dtype=torch.bool), make_keys(0, len(own))
    chained = model.log_likelihood(batch, {"place": everywhere}, {n: batch[n] for n in ("name", "colour")}, keys)
    both = {"place": everywhere, "name": everywhere}
    alone = model.log_likelihood(batch, both, {"colour": batch["colour"]}, keys)
    torch.testing.assert_close(chained["colour"], alone["colour"], rtol=1e-4, atol=1e-5)
    context = model.condition(batch, both, keys).context
    torch.testing.assert_close(model.heads["colour"].log_likelihood(context, batch["colour"], keys), alone["colour"])


def test_scores_are_shares(run, rows, judge):
    model, batch = run.model, batch_of(rows)
    visible = {name: batch[name].present for name in model.encoders}
    to = {name: ~batch[name].present for name in model.heads}
    keys = make_keys(0, len(rows))
    made = generate_rows(model, batch, visible, to, keys, FAST)
    scores = score_cells(model, judge, batch, visible, made, keys, FAST)
    assert set(scores) == set(model.heads)
    for name, values in scores.items():
        assert values.shape == (len(rows), 2 if name in ("picture", "tone") else 1)
        told = values[to[name].numpy()]
        assert np.isfinite(told[:, 0]).all()
        assert ((told >= 0) & (told <= 1.0001) | np.isnan(told)).all()
    assert {"picture", "tone"}.isdisjoint(score_cells(model, None, batch, visible, made, keys, FAST))


def test_scores_are_a_row_s_own(run, rows, judge):
    model, some = run.model, torch.tensor([3, 9, 10])
    whole, keys = batch_of(rows), make_keys(0, len(rows))

    def scored(index):
        batch = {name: field.pick(index) for name, field in whole.items()}
        visible = {name: batch[name].present for name in model.encoders}
        to = {name: ~batch[name].present for name in model.heads}
        made = generate_rows(model, batch, visible, to, keys[index], FAST)
        return score_cells(model, judge, batch, visible, made, keys[index], FAST)

    every, few = scored(torch.arange(len(rows))), scored(some)
    for name, values in few.items():
        np.testing.assert_allclose(every[name][some], values, rtol=1e-3, atol=1e-4)


def test_rows_are_drawn_with_part_of_their_fields(run, rows, judge, monkeypatch):
    monkeypatch.setattr("polymodal.evaluation.calibration.scored_cells.PART", 64)
    cells = collect(run.model, rows, judge=judge, cells=100, options=FAST)
    assert set(cells) == set(run.model.heads)
    for name, own in cells.items():
        assert len(own.scores) == len(own.right) == len(own.given) == len(own.rows) > 8
        assert set(np.unique(own.right)) <= {0.0, 1.0}
        assert all(given and name not in given.split(" + ") for given in own.given)
        assert rows.present[name][own.rows].all()
    again = collect(run.model, rows, cells=100, options=FAST)
    assert np.array_equal(again["name"].scores, cells["name"].scores)


def test_without_names_a_value_is_right_if_its_own_is_nearest(run, rows):
    bare = rows.only("picture", "place")
    bare.fields = {name: rows.fields[name] for name in ("picture", "place")}
    judge = Judge.train(bare, steps=5, batch_size=12, width=32)
    examiner = Examiner(bare, judge)
    own = bare.select(bare.present["picture"])
    real = batch_of(own)["picture"]
    assert judge.naming is None
    assert examiner.right("picture", own, real, real).all()
    other = real.pick(torch.arange(len(own)).roll(1))
    assert not examiner.right("picture", own, real, other).any()


def test_a_judge_finds_the_name_or_not(run, rows, judge):
    own = rows.select(rows.present["picture"])
    real = batch_of(own)["picture"]
    right = Examiner(rows, judge).right("picture", own, real, real)
    assert np.array_equal(np.isnan(right), ~own.present["name"])
    named = judge.name("picture", real, sorted(judge.names)).numpy()
    truth = [
        judge_name == row["name"] for judge_name, row in zip(np.array(sorted(judge.names))[named], own, strict=True)
    ]
    assert np.array_equal(right[own.present["name"]], np.array(truth, float)[own.present["name"]])


def test_patterns_name_the_fields():
    visible = {"a": torch.tensor([True, False, True]), "b": torch.tensor([True, False, False])}
    assert patterns(visible, 3).tolist() == ["a + b", "", "a"]


def test_a_calibration_is_kept(calibration, run, rows, tmp_path):
    assert set(calibration.calibrators) == set(calibration.reports) == set(run.model.heads)
    calibration.save(tmp_path)
    again = Calibration.load(tmp_path)
    assert again.digest == calibration.digest
    assert again.fits(run.model, FAST)
    assert not again.fits(run.model, None)
    batch, keys = batch_of(rows), make_keys(0, len(rows))
    visible = {"name": batch["name"].present, "picture": batch["picture"].present}
    made = generate_rows(run.model, batch, visible, {"colour": torch.ones(len(rows), dtype=torch.bool)}, keys)
    told = [c.confidences(run.model, batch, visible, made, keys)["colour"] for c in (calibration, again)]
    assert np.array_equal(*told)
    assert ((told[0] > 0) & (told[0] < 1)).all()
    (tmp_path / "judge.safetensors").unlink()
    with pytest.raises(pm.CheckpointError, match="holds no judge"):
        Calibration.load(tmp_path)
    with pytest.raises(pm.CheckpointError, match="holds no calibration that can be read"):
        Calibration.load(tmp_path / "no")


def test_the_report_is_of_cells_that_were_not_learned_from(calibration, run, rows, judge):
    """The tiny run knows nothing: what it is told of labels must be about their chance, and its error small."""
    report = calibration.reports["colour"]
    assert report.cells > 50
    assert 0.1 < report.right < 0.6
    assert report.error < 0.25
    cells = collect(run.model, rows, judge=judge, cells=400, seed=1, options=FAST)["colour"]
    told = calibration.calibrators["colour"][""](cells.scores)
    assert expected_calibration_error(told, cells.right, bins=3) < 0.15


def test_nothing_to_learn_from_is_said(run, rows):
    with pytest.raises(pm.DataError, match="calibrate: there are no held-out rows"):
        calibrate(run.model, rows.select(np.zeros(0, dtype=np.int64)))
    with pytest.raises(pm.ConfigError, match="calibrate: the rows have no field 'picture'"):
        calibrate(run.model, rows.only("name"))
    alone = run.data([{"name": "red disc", "picture": None, "tone": None, "colour": None, "place": None}]).rows
    with pytest.raises(pm.DataError, match="no field of these rows can be scored"):
        calibrate(run.model, alone)


def test_few_cells_still_give_a_report():
    def cells(*rows: int) -> ScoredCells:
        count = len(rows)
        scores, right = np.linspace(0.2, 0.8, count)[:, None], np.arange(count) % 2 == 0
        return ScoredCells(scores, right.astype(float), np.array(["a"] * count, dtype=object), np.array(rows))

    assert np.isnan(_report(cells(5)).error)
    for few in (cells(1, 2, 3), cells(4, 4), cells(7, 9, 9)):
        assert 0 <= _report(few).error <= 1
