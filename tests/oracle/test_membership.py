"""Attacks whose strength is known."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from polymodal.evaluation.privacy.membership import area_under_curve, attack


def test_an_attack_that_knows_is_perfect():
    one = attack("name", "loss", np.arange(10, 20), np.arange(10))
    assert (one.auc, one.low, one.high) == (1, 1, 1)
    assert one.true_positive_rates == (1, 1)
    assert attack("name", "loss", np.arange(10), np.arange(10, 20)).auc == 0


def test_an_attack_that_guesses_is_at_a_half():
    assert attack("name", "loss", np.ones(10), np.ones(30)).auc == 0.5
    random = np.random.default_rng(0)
    one = attack("name", "loss", random.normal(size=2000), random.normal(size=2000))
    assert one.low < 0.5 < one.high
    assert one.auc == pytest.approx(0.5, abs=0.03)
    assert max(one.true_positive_rates) < 0.03


def test_area_is_that_of_scikit_learn_and_of_normal_scores():
    random = np.random.default_rng(1)
    members, others = random.normal(1, 1, 4000), random.normal(0, 1, 4000)
    one = attack("name", "loss", members, others)
    assert one.auc == pytest.approx(
        roc_auc_score(np.repeat([1, 0], 4000), np.concatenate([members, others])), abs=1e-12
    )
    assert one.auc == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.01)
    assert one.true_positive_rates[1] == pytest.approx(norm.sf(norm.isf(0.01) - 1), abs=0.03)
    tied = random.integers(0, 4, 50), random.integers(0, 3, 30)
    theirs = roc_auc_score(np.repeat([1, 0], [50, 30]), np.concatenate(tied))
    assert area_under_curve(*tied) == pytest.approx(theirs, abs=1e-12)
    x, y = np.array(one.curve).T
    assert np.trapezoid(y, x) == pytest.approx(one.auc, abs=1e-9)


def test_below_one_false_alarm_none_is_allowed():
    one = attack("name", "loss", np.array([5.0, 4.0, 1.0, 0.0]), np.array([3.0, 2.0]))
    assert one.true_positive_rates == (0.5, 0.5)
    assert attack("name", "loss", np.array([2.0, 3.0]), np.array([3.0, 2.0])).true_positive_rates == (0, 0)
