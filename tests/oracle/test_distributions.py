"""Distances of distributions against published implementations and closed forms."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import polymodal as pm
from polymodal.evaluation.metrics import frechet_distance
from set_metrics import kernel_distance, neighbours


@pytest.fixture
def sets() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(400, 12, generator=generator)
    made = 0.7 * torch.randn(300, 12, generator=generator) + 0.3
    return real, made


def test_frechet_distance_equals_torchmetrics(sets):
    from torchmetrics.image.fid import _compute_fid

    real, made = (x.double() for x in sets)
    theirs = float(_compute_fid(real.mean(0), torch.cov(real.T), made.mean(0), torch.cov(made.T)))
    assert frechet_distance(real, made) == pytest.approx(theirs, rel=1e-6)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_known_gaussians():
    eye = torch.linalg.qr(torch.randn(2000, 3, generator=torch.Generator().manual_seed(1)).double())[0]
    white = (eye - eye.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(eye.T))).T  # covariance 1, mean 0
    shifted = white * torch.tensor([1.0, 2.0, 3.0]) + torch.tensor([1.0, 0.0, 2.0])
    # |m|^2 + sum of (s - 1)^2
    assert frechet_distance(white, shifted) == pytest.approx(5 + 0 + 1 + 4, rel=1e-6)


def test_kernel_distance_equals_the_formula_of_torchmetrics(sets):
    from torchmetrics.image.kid import poly_mmd

    real, made = (x.double()[:300] for x in sets)
    theirs = float(poly_mmd(real, made))
    assert kernel_distance(real, made, subsets=1, size=300) == pytest.approx(theirs, rel=1e-6)


def test_neighbours_equal_a_direct_count(sets):
    real, made = (x.double().numpy() for x in sets)
    k = 5

    def radius(x: np.ndarray) -> np.ndarray:
        return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, -1]

    distance = np.linalg.norm(real[:, None] - made[None], axis=2)
    inside = distance <= radius(real)[:, None]
    ours = neighbours(*sets, k=k)
    assert ours.precision == pytest.approx(inside.any(0).mean(), abs=1e-9)
    assert ours.recall == pytest.approx((distance <= radius(made)[None]).any(1).mean(), abs=1e-9)
    assert ours.coverage == pytest.approx((distance.min(1) <= radius(real)).mean(), abs=1e-9)


def test_a_lost_mode_is_seen_by_recall_alone():
    generator = torch.Generator().manual_seed(2)
    modes = torch.tensor([[0.0, 0.0], [20.0, 0.0]])
    real = modes[torch.arange(400) % 2] + torch.randn(400, 2, generator=generator)
    made = modes[:1] + torch.randn(400, 2, generator=generator)
    found = neighbours(real, made)
    assert found.precision > 0.9
    assert found.recall < 0.55


def test_wrong_features_are_refused(sets):
    real, made = sets
    with pytest.raises(pm.DataError, match=r"give \(N, F\) and \(M, F\)"):
        frechet_distance(real, made[:, :3])
    with pytest.raises(pm.DataError, match="at least 6 of each"):
        neighbours(real, made[:5])
