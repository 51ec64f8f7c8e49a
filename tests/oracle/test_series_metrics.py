"""Correlation, RMSE and dynamic time warping of padded series against plain NumPy, row by row."""

import numpy as np
import pytest
import torch

from polymodal.evaluation.kinds import find_kind
from polymodal.evaluation.metrics import correlation, dtw, rmse
from polymodal.modalities import Series
from polymodal.types import Field


def padded(lengths, seed):
    random = np.random.default_rng(seed)
    rows = [random.normal(size=(2, length)) for length in lengths]
    value = np.zeros((len(rows), 2, max(lengths)))
    for row, place in zip(rows, value, strict=True):
        place[:, : row.shape[1]] = row
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return rows, Field.full(torch.tensor(value, dtype=torch.float32), mask, 1)


def plain_dtw(first, second):
    cost = np.linalg.norm(first[:, :, None] - second[:, None], axis=0)
    best = np.full((cost.shape[0] + 1, cost.shape[1] + 1), np.inf)
    best[0, 0] = 0
    for i, j in np.ndindex(cost.shape):
        best[i + 1, j + 1] = cost[i, j] + min(best[i, j], best[i, j + 1], best[i + 1, j])
    return best[-1, -1] / sum(cost.shape)


LENGTHS, OTHERS = [7, 1, 12, 4], [5, 9, 12, 1]


def test_they_are_those_of_each_row_alone():
    ours, first = padded(LENGTHS, 0)
    theirs, second = padded(OTHERS, 1)
    warped = dtw(first.value, second.value, first.lengths, second.lengths)
    np.testing.assert_allclose(warped, [plain_dtw(a, b) for a, b in zip(ours, theirs, strict=True)], rtol=1e-5)
    mask = first.mask & second.mask
    for row, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        n = min(a.shape[1], b.shape[1])
        a, b = a[:, :n], b[:, :n]
        assert float(rmse(first.value, second.value, mask)[row]) == pytest.approx(
            np.sqrt(((a - b) ** 2).mean()), rel=1e-5
        )
        expected = np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]) if n > 1 else 0.0
        assert float(correlation(first.value, second.value, mask)[row]) == pytest.approx(expected, abs=1e-6)


def test_a_series_that_lags_is_near_by_warping_and_far_by_steps():
    wave = torch.sin(torch.arange(80) / 5)[None, None]
    late = torch.sin((torch.arange(80) - 4) / 5)[None, None]
    mask, length = torch.ones(1, 80, dtype=torch.bool), torch.tensor([80])
    assert dtw(wave, wave, length, length) == 0
    assert 4 * float(dtw(wave, late, length, length)) < float(rmse(wave, late, mask))


def test_the_kind_compares_rows_of_other_lengths_and_sets():
    kind = find_kind(Series(2, max_seconds=12, rate_hz=1))
    _, real = padded(LENGTHS, 0)
    _, made = padded(OTHERS[::-1], 1)
    perfect = {result.metric: result for result in kind.against(real, real)}
    assert perfect["correlation"].values[[0, 2, 3]] == pytest.approx(1)
    assert perfect["RMSE"].values.max() == perfect["DTW distance"].values.max() == 0
    assert all(len(result.values) == 4 for result in kind.against(real, made))
    assert kind.features(real).shape == (4, 18)
    assert kind.features(real).isfinite().all()
