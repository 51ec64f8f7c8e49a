"""Values held to the bounds of their space."""

import torch

from polymodal.nn.bounds import clamp_to_bounds
from polymodal.types import Space

BOUNDED = Space("continuous", (5,), bounds=(-1.0, 1.0))


def test_values_are_clamped():
    x = torch.tensor([-3.0, -1.0, 0.2, 1.0, 7.0])
    assert clamp_to_bounds(x, BOUNDED).tolist() == x.clamp(-1, 1).tolist()
    assert clamp_to_bounds(x, Space("continuous", (5,))) is x


def test_a_gradient_leads_back_but_not_further_out():
    """What descent subtracts: a positive gradient moves a value down, a negative one up."""
    beyond = [-3.0, -3.0, 0.2, 7.0, 7.0]
    x = torch.tensor(beyond, requires_grad=True)
    clamp_to_bounds(x, BOUNDED).backward(torch.tensor([2.0, -2.0, 2.0, 2.0, -2.0]))
    assert x.grad.tolist() == [0.0, -2.0, 2.0, 2.0, 0.0]


def test_descent_comes_to_lie_on_a_bound_and_leaves_it_again():
    x = torch.tensor([5.0], requires_grad=True)
    for wanted in (-1.0, 0.5):
        for _ in range(200):
            (gradient,) = torch.autograd.grad((clamp_to_bounds(x, BOUNDED) - wanted).square().sum(), x)
            x = (x - 0.1 * gradient).detach().requires_grad_()
        torch.testing.assert_close(clamp_to_bounds(x, BOUNDED), torch.tensor([wanted]))
