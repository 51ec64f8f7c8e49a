"""What adaptation sees of losses and gradients, and that it looks on, and costs nothing, unless it is asked."""

import pytest
import torch

from polymodal.balancing import BALANCERS
from polymodal.nn.random import make_keys, normal
from polymodal.training.adaptation import EVERY, Adaptation
from polymodal.training.rates import Rates
from polymodal.types import Context


def context(rows):
    x = normal(make_keys(0, rows), (3, 4)).requires_grad_()
    return Context(x, torch.ones(rows, 3, dtype=torch.bool), x.mean(1))


def adaptation(kind="gradient-share", **options):
    return Adaptation({"a": 1.0, "b": 10.0}, balancer=BALANCERS[kind](["a", "b"], **options))


def take_steps(adapting, losses, steps=EVERY, counts=None):
    for step in range(1, steps + 1):
        adapting.observe(
            "model", {name: torch.tensor(value) for name, value in losses.items()}, counts or {"a": 3, "b": 3}
        )
        adapting.step(step)


def test_the_gradient_at_the_context_is_summed_over_rows():
    adapting, whole = adaptation(), context(5)
    scale = normal(make_keys(1, 5), (3, 4))
    for places in (torch.arange(2), torch.arange(2, 5)):  # two micro_batches of one step
        own = whole.pick(places)
        adapting.watch("a", own)
        ((own.tokens * scale[places]).sum() + 2 * own.pooled.sum()).backward()
    expected = scale.flatten(1).norm(dim=1).sum() + 5 * 2 * 4**0.5
    adapting.step(1)
    assert adapting.state["gradients"] == {"a": pytest.approx(float(expected), rel=1e-5)}


def test_nothing_is_watched_where_nobody_asks():
    for adapting in (Adaptation(), adaptation("fixed"), adaptation("uncertainty")):
        own = context(2)
        adapting.watch("a", own)
        own.pooled.sum().backward()
        assert not adapting.state.get("gradients")
    fixed = adaptation("fixed")
    take_steps(fixed, {"a.nll": 1.0})
    assert fixed.state == {}
    assert fixed.numbers() == {}
    assert fixed.weight("a", "nll") == 1.0


def test_losses_are_means_over_the_steps_that_want_the_field_as_the_recipe_weighs_them():
    adapting = adaptation("uncertainty")
    for step in range(1, EVERY + 1):
        terms = {"b.nll": torch.tensor(2.0), "context.kl": torch.tensor(5.0)}
        if step % 4 == 0:
            terms["a.nll"] = torch.tensor(2.0)
        adapting.observe("model", terms, {"a": int(step % 4 == 0), "b": 7})
        adapting.observe("a.critic", {"adversarial": torch.tensor(99.0)}, {"a": 0, "b": 7})
        adapting.step(step)
    weights = adapting.balancer.weights
    assert set(weights) == {"a", "b"}
    assert weights["a"] == pytest.approx(10 * weights["b"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 7.0])
def test_steps_that_moved_nothing_count_for_nothing(bad):
    """Else a field whose losses are not finite now and then seems to be nearly learned."""
    whole, adapting = adaptation(), adaptation()
    for step in range(1, 2 * EVERY):
        skipped = step % 2 == 0
        for one in (adapting, whole) if not skipped else (adapting,):
            own = context(2)
            one.watch("a", own)
            one.observe("model", {"a.nll": torch.tensor(bad if skipped else 2.0), "b.nll": torch.tensor(3.0)}, {"a": 1})
            (own.tokens * (bad if skipped else 1.0)).sum().backward()
        adapting.step(step, torch.tensor(skipped))
        if not skipped:
            whole.step((step + 1) // 2)
        if step == EVERY:
            seen = {}
            adapting.balancer.update = lambda known, seen=seen: seen.update(losses=known.losses, gone=known.gradients)
    assert adapting.state["losses"] == {"a.nll": 16.0, "b.nll": 24.0}


def test_where_every_step_was_skipped_nothing_is_decided():
    adapting = adaptation("uncertainty")
    for step in range(1, EVERY + 1):
        adapting.observe("model", {"a.nll": torch.tensor(float("nan"))}, {"a": 1, "b": 1})
        adapting.step(step, torch.tensor(True))
    assert adapting.balancer.weights == {}


def test_decisions_are_told_once_a_weight_has_moved():
    adapting = adaptation("uncertainty")
    take_steps(adapting, {"a.nll": 1.0, "b.nll": 1.0})
    assert adapting.decisions() == [
        "balance.a 1 -> 1.82 (loss 1)",
        "balance.b 1 -> 0.182 (loss 10)",
    ]
    take_steps(adapting, {"a.nll": 1.0, "b.nll": 1.0})
    assert adapting.decisions() == []
    assert adapting.numbers() == {
        "balance.a": pytest.approx(1.818, abs=1e-3),
        "balance.b": pytest.approx(0.182, abs=1e-3),
    }


def test_a_group_of_parameters_learns_at_its_owners_rate():
    rates = Rates(["a", "b"])
    rates.factors["a"] = 0.5
    adapting = Adaptation({"a": 1.0, "b": 1.0}, rates=rates)
    assert [adapting.rate(group) for group in ({"owner": "a"}, {"owner": "b"}, {"owner": ""}, {})] == [0.5, 1, 1, 1]
