"""Scales of numbers: chosen by the training values, invertible everywhere, exact far from zero."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import polymodal as pm
from polymodal.modalities.scales import normality
from refusals import refused

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(3, 2, 500)
PRICES = np.exp(RANDOM.normal(4, 1.5, 500))
TWO_PEAKS = np.concatenate([RANDOM.normal(-1, 0.001, 300), RANDOM.normal(50, 0.001, 200)])


def prepared(values, **arguments):
    vector = pm.Vector(1, **arguments)
    vector.prepare(list(values))
    return vector


def there_and_back(vector, number):
    return float(vector.write(vector.to_model(torch.from_numpy(vector.read(number))))[0])


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (NORMAL, "linear"),
        (PRICES, "log"),
        (-PRICES, "quantile"),
        (TWO_PEAKS, "quantile"),
        (np.arange(5) ** 9.0, "linear"),
    ],
)
def test_the_scale_follows_the_training_values(values, scale):
    vector = prepared(values)
    assert vector.scale == [scale]
    stored = np.concatenate([vector.read(value) for value in values])
    assert stored.mean() == pytest.approx(0, abs=1e-4)
    assert stored.std() == pytest.approx(1, abs=1e-4)
    if scale != "linear":
        assert normality(stored) > normality(values) + 0.05


@pytest.mark.parametrize("values", [NORMAL, PRICES, -PRICES, TWO_PEAKS])
def test_every_number_comes_back(values):
    vector = prepared(values)
    for number in [*values[:50], values.min(), values.max(), *np.quantile(values, [0.1, 0.5, 0.9])]:
        assert there_and_back(vector, number) == pytest.approx(number, rel=1e-5, abs=1e-5 * values.std())


@pytest.mark.parametrize("number", [0.0, -1.0, 1e-9, 3e7])
def test_a_logarithmic_scale_has_a_place_for_what_training_had_not(number):
    assert there_and_back(prepared(PRICES), number) == pytest.approx(number, rel=1e-4, abs=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=25, max_size=60), st.sampled_from(["linear", "log", "quantile"]))
@settings(max_examples=40, deadline=None)
def test_order_is_kept_whatever_the_values(values, scale):
    vector = prepared(np.abs(values) + 1e-3, scale=scale)
    numbers = np.sort(np.concatenate([np.abs(values) + 1e-3, [0.0, -5.0, 1e7]]))
    stored = np.concatenate([vector.read(number) for number in numbers])
    assert (np.diff(stored) >= 0).all()


def test_numbers_of_one_vector_have_scales_of_their_own():
    vector = pm.Vector(2)
    vector.prepare(np.stack([NORMAL, PRICES], axis=1))
    assert vector.scale == ["linear", "log"]


def test_a_scale_is_kept_in_the_state():
    for values in (PRICES, TWO_PEAKS):
        vector = prepared(values)
        again = pm.Vector(**vector.state())
        assert again.read(values[7]) == vector.read(values[7])
        assert again.state() == vector.state()


def test_what_a_run_of_an_earlier_format_says_is_linear():
    vector = pm.Vector(size=1, mean=[10.0], std=[2.0])
    assert vector.read(12.0).tolist() == [1.0]


def test_far_from_zero_digits_are_kept():
    seconds = 1.7e9 + np.arange(500.0)
    vector = prepared(seconds)
    assert there_and_back(vector, seconds[123]) == pytest.approx(seconds[123], abs=1e-4)


def test_the_mean_is_that_of_the_numbers_themselves():
    vector = prepared(PRICES)
    values = torch.from_numpy(np.stack([vector.read(price) for price in (10.0, 1000.0)])[:, None])
    assert float(vector.write(vector.mean_of(values)[0])[0]) == pytest.approx(505, rel=1e-4)
    weighted = vector.mean_of(values, torch.tensor([[0.75], [0.25]]))
    assert float(vector.write(weighted[0])[0]) == pytest.approx(257.5, rel=1e-4)


def test_refusals():
    with refused("scale", "'cubic'", "linear", by=pm.ConfigError):
        pm.Vector(1, scale="cubic")
    with refused("knots", "number 0", by=pm.ConfigError):
        pm.Vector(1, mean=0.0, std=1.0, scale="quantile", knots=[[[1, 0], [0, 1]]])
    with refused("knots", "number 0", by=pm.ConfigError):
        pm.Vector(1, mean=0.0, std=1.0, scale="quantile", knots=[None])
