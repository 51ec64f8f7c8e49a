"""Weights of losses at rest, where the source gives them in closed form."""

import math

import pytest

from polymodal.balancing import BALANCERS, Seen

LOSSES = {"a.nll": 8.0, "b.nll": 2.0}


def at_rest(kind, gradients=None, looks=200, losses=LOSSES, **options):
    balancer = BALANCERS[kind](["a", "b"], **options)
    for step in range(1, looks + 1):
        balancer.update(Seen(step, losses, gradients or {}))
    return balancer.weights


def test_uncertainty_rests_at_one_over_the_loss():
    """The minimum of exp(-s) L + s over s is at s = log L."""
    weights = at_rest("uncertainty")
    assert weights["a"] * 8.0 == pytest.approx(weights["b"] * 2.0)


def test_uncertainty_follows_a_loss_that_falls():
    balancer = BALANCERS["uncertainty"](["a", "b"])
    for step in range(400):
        balancer.update(Seen(step, {"a.nll": 8.0 if step < 200 else 0.5, "b.nll": 2.0}))
    assert balancer.weights["a"] * 0.5 == pytest.approx(balancer.weights["b"] * 2.0, rel=1e-3)


def test_dynamic_weight_average_is_its_formula():
    balancer = BALANCERS["dwa"](["a", "b"], period=2, temperature=2.0)
    for step, (a, b) in enumerate([(4, 1), (4, 1), (1, 0.8), (3, 1)]):
        balancer.update(Seen(step, {"a.nll": a, "b.nll": b}))
    raw = [math.exp(2.0 / 4.0 / 2), math.exp(0.9 / 1.0 / 2)]
    assert [balancer.weights[name] for name in "ab"] == pytest.approx([2 * value / sum(raw) for value in raw])


def test_gradient_shares_are_those_asked_for():
    weights = at_rest("gradient-share", {"a": 30.0, "b": 0.5}, shares={"b": 2.0})
    assert weights["b"] * 0.5 == pytest.approx(2 * weights["a"] * 30.0)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_gradnorm_rests_at_its_target(alpha):
    balancer = BALANCERS["gradnorm"](["a", "b"], alpha=alpha)
    gradients = {"a": 30.0, "b": 0.5}
    balancer.update(Seen(1, LOSSES, gradients))
    for step in range(2, 200):
        balancer.update(Seen(step, {"a.nll": 2.0, "b.nll": 1.0}, gradients))  # trained to 1/4 and 1/2
    ratio = balancer.weights["b"] * 0.5 / (balancer.weights["a"] * 30.0)
    assert ratio == pytest.approx(2.0**alpha)


def test_uncertainty_leaves_a_density_as_it_is():
    """At the best s, exp(-s) L + s = log L + 1: a density is that already, and weighs 1 beside 1 / L."""
    balancer = BALANCERS["uncertainty"](["a", "b"])
    for step in range(200):
        balancer.update(Seen(step, {"a.nll": -1.5, "b.nll": 4.0}, signed=["a.nll"]))
    assert balancer.weights["a"] / balancer.weights["b"] == pytest.approx(4.0)


def test_dynamic_weight_average_calls_a_density_that_falls_a_progress():
    """Of -2 -> -3 and -2 -> -1 the first gains half of its size and the second loses it."""
    balancer = BALANCERS["dwa"](["a", "b"], period=1, temperature=2.0)
    balancer.update(Seen(1, {"a.nll": -2.0, "b.nll": -2.0}))
    balancer.update(Seen(2, {"a.nll": -3.0, "b.nll": -1.0}))
    assert balancer.weights["b"] / balancer.weights["a"] == pytest.approx(math.exp((1.5 - 0.5) / 2))


def test_gradnorm_takes_no_rate_from_a_density():
    balancer = BALANCERS["gradnorm"](["a", "b"], alpha=1.0)
    for step in range(200):
        density = 1.0 if step == 0 else -2.0
        balancer.update(Seen(step, {"a.nll": density, "b.nll": 2.0}, {"a": 4.0, "b": 1.0}, signed=["a.nll"]))
    assert balancer.weights["a"] * 4.0 == pytest.approx(balancer.weights["b"] * 1.0)
