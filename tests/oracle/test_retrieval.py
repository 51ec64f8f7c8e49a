"""Recall and median rank against counting, and against what a random embedding finds."""

import numpy as np
import pytest

import polymodal as pm
from polymodal.embedding import AlignedEmbedder
from retrieval import _chance, first_ranks, recall_at, retrieval


def test_ranks_are_counted_by_hand():
    similarities = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.8], [0.3, 0.3, 0.3], [0.1, 0.2, 0.3]])
    belongs = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 0]], dtype=bool)
    ranks = first_ranks(similarities, belongs)
    assert ranks.tolist() == [1, 2, 3, 2]  # what is as near and does not belong comes first
    assert [recall_at(ranks, k) for k in (1, 2, 3)] == [0.25, 0.75, 1.0]


def test_chance_is_the_recall_of_random_similarities():
    random = np.random.default_rng(0)
    belongs = np.zeros((4000, 12), dtype=bool)
    belongs[:, :2] = True
    belongs[:2000, 2] = True
    ranks = first_ranks(random.random(belongs.shape), belongs)
    for k in (1, 3, 10, 12):
        assert recall_at(ranks, k) == pytest.approx(_chance(belongs.sum(1), 12, k), abs=0.025)


def test_what_is_one_hot_is_always_found():
    ranks = first_ranks(np.eye(50), np.eye(50, dtype=bool))
    assert recall_at(ranks, 1) == 1
    assert np.median(ranks) == 1


def test_a_run_is_scored(aligned):
    model = pm.open(aligned)
    data = model.data()
    score = retrieval(AlignedEmbedder.measure(model.model, data.train), data.rows, "name", "picture", ks=(1, 10))
    assert score.queries == 6
    assert score.candidates == len(data.rows.select(data.rows.present["name"]).unique("picture"))
    assert 0 <= score.recall[1] <= score.recall[10] <= 1
    assert 1 <= score.median_rank <= score.candidates
    assert score.chance[1] < score.chance[10]
    same = retrieval(AlignedEmbedder.measure(model.model, data.train), data.rows, "name", "name", ks=(1,))
    assert same.recall[1] == same.median_rank == 1
    with pytest.raises(pm.ConfigError, match="to: 'colour' is not aligned"):
        retrieval(AlignedEmbedder.measure(model.model, data.train), data.rows, "name", "colour")
