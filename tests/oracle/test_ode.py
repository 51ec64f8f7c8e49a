"""Solvers against equations with a closed solution."""

import itertools
import math

import pytest
import torch

from polymodal.nn.ode import SOLVERS

ORDERS = {"euler": 1, "heun": 2, "midpoint": 2}


def growth(x, t):
    """dx/dt = x cos(t), so that x(t) = x(0) exp(sin(t))."""
    return x * t.cos()


@pytest.mark.parametrize("name", SOLVERS)
def test_order_of_convergence(name):
    x = torch.tensor([1.0, -2.0], dtype=torch.float64)
    errors = []
    for steps in (80, 160, 320):
        end = SOLVERS[name](growth, x, torch.linspace(0, 2, steps + 1, dtype=torch.float64))
        errors.append((end - x * math.exp(math.sin(2.0))).abs().max())
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(ORDERS[name], abs=0.1)


@pytest.mark.parametrize("name", SOLVERS)
def test_straight_paths_take_one_step_in_either_direction(name):
    noise, data = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    arrived = SOLVERS[name](lambda x, t: data - noise, noise, torch.tensor([0.0, 1.0]))
    returned = SOLVERS[name](lambda x, t: data - noise, data, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(arrived, data)
    torch.testing.assert_close(returned, noise)


@pytest.mark.parametrize("name", SOLVERS)
def test_there_and_back(name):
    x, times = torch.tensor([0.7]), torch.linspace(0, 1, 101)
    there = SOLVERS[name](growth, x, times)
    assert SOLVERS[name](growth, there, times.flip(0)).item() == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("name", SOLVERS)
def test_uneven_steps_and_the_times_the_velocity_is_told(name):
    told = []

    def velocity(x, t):
        assert t.shape == ()
        told.append(t.item())
        return torch.ones_like(x)

    times = torch.tensor([0.0, 0.5, 0.75, 1.0])
    torch.testing.assert_close(SOLVERS[name](velocity, torch.zeros(1), times), torch.ones(1))
    expected = {
        "euler": [0, 0.5, 0.75],
        "heun": [0, 0.5, 0.5, 0.75, 0.75, 1],
        "midpoint": [0, 0.25, 0.5, 0.625, 0.75, 0.875],
    }
    assert told == expected[name]


@pytest.mark.parametrize("name", SOLVERS)
def test_the_start_is_left_as_it_was(name):
    x = torch.ones(3)
    SOLVERS[name](lambda x, t: x, x, torch.linspace(0, 1, 4))
    assert torch.equal(x, torch.ones(3))
