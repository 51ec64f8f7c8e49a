"""Distances of shapes beside those of a tree of SciPy's, and the metrics of sets by hand."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

import polymodal as pm
from polymodal.errors import DataError
from polymodal.evaluation.kinds import find_kind
from polymodal.evaluation.metrics import (
    chamfer_distance,
    chamfer_matrix,
    matched_share,
    matching_distance,
    nearest_neighbour_accuracy,
)
from polymodal.types import Field

RANDOM = np.random.default_rng(0)


def by_tree(first, second):
    one, other = (cKDTree(points.T) for points in (first, second))
    return np.mean(other.query(first.T)[0] ** 2) + np.mean(one.query(second.T)[0] ** 2)


def test_chamfer_is_that_of_a_tree():
    first, second = RANDOM.normal(size=(3, 3, 50)), RANDOM.normal(size=(4, 3, 70))
    matrix = chamfer_matrix(torch.tensor(first), torch.tensor(second)).numpy()
    known = [[by_tree(one, other) for other in second] for one in first]
    np.testing.assert_allclose(matrix, known, rtol=1e-4)
    pairs = chamfer_distance(torch.tensor(first), torch.tensor(second[:3])).numpy()
    np.testing.assert_allclose(pairs, np.diag(known), rtol=1e-4)
    order = torch.from_numpy(RANDOM.permutation(50))
    again = chamfer_distance(torch.tensor(first)[..., order], torch.tensor(second[:3])).numpy()
    np.testing.assert_allclose(pairs, again, rtol=1e-5)


def test_sets_by_hand():
    between = torch.tensor([[1.0, 2.0, 9.0], [3.0, 1.5, 8.0]])
    assert matching_distance(between) == pytest.approx(1.25)
    assert matched_share(between) == 1.0  # the first is nearest to the first sample, the second to the others
    assert matched_share(between[:, :1]) == 0.5
    place = torch.tensor([0.0, 1.0, 10.0, 11.0])
    apart = (place[:, None] - place).abs()
    assert nearest_neighbour_accuracy(apart[:2, :2], apart[:2, 2:], apart[2:, 2:]) == 1.0
    mixed = torch.tensor([0, 2, 1, 3])
    assert (
        nearest_neighbour_accuracy(*(apart[mixed][:, mixed][s] for s in (np.s_[:2, :2], np.s_[:2, 2:], np.s_[2:, 2:])))
        == 0.0
    )


def test_the_kind_ranks_real_shapes_above_noise():
    sizes = torch.rand(60, 3, 1, generator=torch.Generator().manual_seed(0)) + 0.2
    shapes = torch.rand(60, 3, 64, generator=torch.Generator().manual_seed(1)) * sizes
    field = Field.full(torch.cat([shapes, torch.zeros(60, 1, 64)], dim=1))
    real, others = field.pick(torch.arange(30)), field.pick(torch.arange(30, 60))
    noise = Field.full(torch.randn(30, 4, 64, generator=torch.Generator().manual_seed(2)))
    kind = find_kind(pm.Points(count=64))
    found = {
        name: {result.metric: result for result in kind.compare_sets(real, made)}
        for name, made in {"real": others, "noise": noise}.items()
    }
    values = {name: {m: r.interval(0)[0] for m, r in metrics.items()} for name, metrics in found.items()}
    assert abs(values["real"]["1-NNA"] - 0.5) < 0.2 < 0.45 < values["noise"]["1-NNA"] - 0.5
    assert values["real"]["MMD"] < values["noise"]["MMD"]
    assert values["real"]["COV"] > values["noise"]["COV"]
    assert abs(values["real"]["COV"] - found["noise"]["COV"].ceiling) < 0.2  # of other real shapes
    assert found["noise"]["Chamfer distance"].ceiling == 0.0


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"\(n, 3, points\)"):
        chamfer_distance(torch.zeros(2, 4, 5), torch.zeros(2, 4, 5))
