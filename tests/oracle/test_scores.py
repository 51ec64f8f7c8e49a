"""The scorecard's figures in worlds whose answer is known; benchmarks/scores.py measures more of them, more often."""

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.kinds import find_kind
from polymodal.evaluation.metrics import (
    extrapolated_frechet_distance,
    kernel_distance,
    other_rows,
    paired_difference,
    precision_and_recall,
    share_interval,
)
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.evaluation.scorecard.row_choice import clusters_of
from polymodal.types import Field
from scores import KNOWN, MODELS, SHARES, World, copies, coverage

REPETITIONS = 30


def holds(intervals, truth) -> float:
    low, high = np.array(intervals).T
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize("alike", [1, 4])
@pytest.mark.parametrize("rows", [100, 200])
def test_distances_have_no_bias_and_order_the_models(rows, alike):
    for name, measure in (("kernel distance", kernel_distance), ("Fréchet distance", extrapolated_frechet_distance)):
        means = {}
        for model in ("perfect", "half", "shifted"):
            found = []
            for seed in range(REPETITIONS if rows == 100 else 15):
                world = World(rows, alike, seed)
                pair = (torch.from_numpy(values) for values in (world.vectors(), world.vectors(model)))
                found.append(measure(*pair, world.clusters))
            truth, values = KNOWN[name](model), np.array(found)
            assert values[:, 0].mean() == pytest.approx(truth, abs=5 * values[:, 0].std() / len(found) ** 0.5)
            assert holds(values[:, 1:], truth) >= 0.8
            means[model] = values[:, 0]
        assert max(means["perfect"]) < min(means["half"])


def test_lost_variety_is_no_gain():
    """In many dimensions, samples that are too near the middle lie within the real values, and near all of them."""
    for seed in range(5):
        world = World(200, 1, seed)
        found = {
            model: precision_and_recall(
                torch.from_numpy(world.vectors()), torch.from_numpy(world.vectors(model)), world.clusters, 3
            )
            for model in MODELS
        }
        for side in (0, 1):
            best = found["perfect"][side]
            assert best[1] <= best[0] <= best[2]
            assert all(found[model][side][0] < best[0] for model in ("greedy", "half", "blurred"))


def test_intervals_of_shares_respect_clusters():
    held, alone, random = [], [], np.random.default_rng(0)
    clusters = np.arange(200) // 4
    for _ in range(300):
        right = (random.random(200) < random.beta(0.5, 0.5, size=50)[clusters]).astype(float)  # correlation 0.5
        held.append(MetricResult("right", right, is_right=True, clusters=clusters).interval(0)[1:])
        alone.append(MetricResult("right", right, is_right=True).interval(0)[1:])
    assert holds(held, 0.5) >= 0.92
    assert holds(alone, 0.5) < 0.85


def test_six_of_six_are_not_certain():
    low, high = share_interval(np.ones(6))
    assert (low, high) == (pytest.approx(0.6097, abs=1e-3), 1)  # Wilson
    assert share_interval(np.zeros(6)) == pytest.approx((0, 1 - low))
    of_two = share_interval(np.ones(60), np.arange(60) // 30)
    assert of_two[0] < 0.1
    assert share_interval(np.ones(6), np.zeros(6)) == (0, 1)


@pytest.mark.parametrize("rows", [100, 200])
@pytest.mark.parametrize("share", SHARES)
def test_intervals_of_shares_hold_them_as_often_as_they_say(share, rows):
    assert 0.93 <= coverage(rows, share) <= 0.97  # by the binomial distribution, no draws


def test_equal_models_are_rarely_told_apart():
    random, alarms = np.random.default_rng(1), 0
    clusters, ones = np.arange(200) // 4, np.ones(200)
    for seed in range(200):
        hard = random.normal(size=50)[clusters]
        pair = [(hard + random.normal(size=50)[clusters] + random.normal(size=200), ones) for _ in range(2)]
        alarms += paired_difference(*pair, clusters, seed=seed, draws=500)[3] < 0.05
    assert 0.015 <= alarms / 200 <= 0.09


def test_other_rows_are_others():
    groups = np.array([0] * 5 + [1] * 3 + [2] * 2 + [3])
    others = other_rows(groups)
    assert sorted(others) == list(range(11))
    assert (groups[others] != groups).all()
    mostly = np.array([0] * 8 + [1, 2, 3])
    assert (mostly[other_rows(mostly)] == mostly).sum() == 5  # as few as can be


def test_chance_is_of_rows_that_differ():
    """Rows of one name often lie side by side; the next row's name is then the row's own."""
    text = pm.Text(max_length=8)
    stored = [torch.from_numpy(text.read(name)) for name in ("aa", "aa", "aa", "bb", "bb", "cc")]
    real = Field.stack([Field.full(text.to_model(value)[None], varies=0) for value in stored])
    _, errors = find_kind(text).compare(real, real, ceiling=1.0, chance=0.5)
    assert (errors.values.sum(), errors.chance) == (0, 1)


@pytest.mark.parametrize(("names", "clusters"), [(30, 30), (10, 90)])
def test_rows_of_a_name_are_a_cluster_and_those_of_a_class_are_not(names, clusters):
    rows = [{"name": f"name {number % names}", "kind": "a", "x": [float(number), 0.0]} for number in range(90)]
    fields = {"name": pm.Text(max_length=16), "kind": pm.Label(), "x": pm.Vector(size=2)}
    examiner = Examiner(pm.load(rows, fields, validation=0, test=0).train, None)
    assert len(np.unique(clusters_of(examiner, np.arange(90), ["name", "x"]))) == clusters
    assert len(np.unique(clusters_of(examiner, np.arange(90), ["kind", "x"]))) == 90


def test_copies_are_found_among_many():
    found = copies(1, 6)
    assert (found["copies_found"], found["fault_named"]) == (1, 1)
    assert found["of_real_values"] < 0.05
