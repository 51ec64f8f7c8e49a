"""Calibration error and calibrators where the truth is known."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError

from polymodal.evaluation.calibration import Calibrator, expected_calibration_error
from polymodal.evaluation.calibration.calibrator import ISOTONIC_CELLS


def drawn(probability, seed=0):
    return (np.random.default_rng(seed).random(len(probability)) < probability).astype(float)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def test_error_is_that_of_torchmetrics_where_its_bins_are_of_equal_mass():
    confidence = (np.arange(3000) + 0.5) / 3000
    right = drawn(confidence**3)
    theirs = BinaryCalibrationError(n_bins=15)(torch.from_numpy(confidence), torch.from_numpy(right).long())
    assert expected_calibration_error(confidence, right) == pytest.approx(float(theirs), abs=1e-6)


def test_error_counts_what_is_too_sure_and_what_is_not_sure_enough():
    assert expected_calibration_error(np.full(10, 0.9), np.array([1, 0] * 5)) == pytest.approx(0.4)
    told, found = np.repeat([0.2, 0.8], 50), np.repeat([0.0, 1.0], 50)
    assert expected_calibration_error(told, found) == pytest.approx(0.2)
    assert expected_calibration_error(told, found, bins=1) == pytest.approx(0)
    probability = np.random.default_rng(1).random(100_000)
    assert expected_calibration_error(probability, drawn(probability)) < 0.01


def test_error_does_not_depend_on_the_order_of_the_cells():
    random = np.random.default_rng(0)
    confidence = random.integers(0, 4, 400) / 4
    right, order = drawn(confidence), random.permutation(400)
    error = expected_calibration_error(confidence, right)
    assert expected_calibration_error(confidence[order], right[order]) == pytest.approx(error)


@pytest.mark.parametrize("cells", [ISOTONIC_CELLS - 100, 20_000])
def test_a_calibrator_finds_the_probability(cells):
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(2, cells, 1))
    truth = logistic(0.5 * logits[..., 0] - 1)  # the score is too sure
    calibrator = Calibrator.fit(logistic(logits[0]), drawn(truth[0]))
    assert (calibrator.steps is None) == (cells < ISOTONIC_CELLS)
    assert np.abs(calibrator(logistic(logits[1])) - truth[1]).mean() < (0.03 if cells < ISOTONIC_CELLS else 0.02)
    assert expected_calibration_error(logistic(logits[1][:, 0]), drawn(truth[1], 1)) > 0.1
    again = Calibrator(**calibrator.state())
    assert np.array_equal(again(logistic(logits[1])), calibrator(logistic(logits[1])))


def test_a_monotone_step_is_found():
    random = np.random.default_rng(0)
    scores = random.random((5000, 1))
    truth = np.where(scores[:, 0] > 0.6, 0.7, 0.1)
    told = Calibrator.fit(scores, drawn(truth, 1))(scores)
    assert np.abs(told - truth).mean() < 0.03


def test_a_score_that_is_lacking_is_replaced_and_others_still_count():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 2)) * 2
    right = drawn(logistic(logits.sum(1)))
    scores = logistic(logits)
    scores[random.random(scores.shape) < 0.3] = np.nan
    told = Calibrator.fit(scores, right)(scores)
    assert np.isfinite(told).all()
    assert expected_calibration_error(told, right) < 0.03
    both = ~np.isnan(scores).any(1)
    assert np.corrcoef(told[both], right[both])[0, 1] > 0.5


def test_all_right_is_not_certain():
    for right, probability in ((np.ones(8), 0.9), (np.zeros(8), 0.1)):
        assert Calibrator.fit(np.full((8, 1), 0.5), right)(np.array([[0.1], [0.9]])) == pytest.approx(probability)
