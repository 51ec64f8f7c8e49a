"""Averaged weights."""

import torch
from torch import nn

from polymodal.training.ema import Average


def climb(parameter: nn.Parameter, average: Average, step: int) -> None:
    with torch.no_grad():
        parameter += 1
    average.update(step)


def test_strides_average_what_single_steps_would():
    """A parameter that climbs by one a step: both averages lag behind it by as much, but for a stride."""
    parameter = nn.Parameter(torch.zeros(3))
    average, exact = Average({"p": parameter}, 0.98), torch.zeros(3)
    for step in range(800):
        climb(parameter, average, step)
        exact.lerp_(parameter.detach(), 1 - min(0.98, (1 + step) / (10 + step)))
    lag, single = (parameter.detach() - weights for weights in (average.weights["p"], exact))
    assert (lag - single).abs().max() < Average.STRIDE
    assert abs(float(single[0]) - 0.98 / 0.02) < 0.1


def test_a_fast_average_leaves_no_step_out():
    parameter = nn.Parameter(torch.zeros(1))
    average = Average({"p": parameter}, 0.0)
    for step in range(39):
        climb(parameter, average, step)
    torch.testing.assert_close(average.weights["p"], parameter.detach())


def test_the_first_steps_all_count():
    parameter = nn.Parameter(torch.zeros(1))
    average = Average({"p": parameter}, 0.999)
    for step in range(4):
        before = average.weights["p"].clone()
        climb(parameter, average, step)
        assert torch.all(average.weights["p"] > before)


def test_average_follows_its_formula_and_swaps_back():
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    average = Average({"p": parameter}, decay=0.96)
    with torch.no_grad():
        parameter.fill_(3.0)
    average.update(0)  # decay min(0.96, 1 / 10)
    torch.testing.assert_close(average.weights["p"], torch.tensor([0.1 * 1 + 0.9 * 3]))
    average.update(1002)  # between two strides
    torch.testing.assert_close(average.weights["p"], torch.tensor([0.1 * 1 + 0.9 * 3]))
    average.update(1003)  # decay 0.96 for each of four steps
    expected = torch.tensor([0.96**4 * 2.8 + (1 - 0.96**4) * 3])
    torch.testing.assert_close(average.weights["p"], expected)
    average.swap()
    torch.testing.assert_close(parameter.detach(), expected)
    average.swap()
    torch.testing.assert_close(parameter.detach(), torch.tensor([3.0]))
