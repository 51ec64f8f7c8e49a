"""The masked head's bound on the likelihood against its definition, summed over every order of the ids."""

import itertools

import pytest
import torch

from polymodal.heads.masked import Masked
from polymodal.nn.random import make_keys
from polymodal.types import Context, Field, Space

WIDTH, LENGTH, VOCAB = 8, 3, 4


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(0)
    head = Masked(Space("discrete", (LENGTH,), vocab=VOCAB), WIDTH, depth=1, heads=2).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(6)
    return head


def make_context(rows):
    torch.manual_seed(1)
    context = Context(torch.randn(1, 2, WIDTH), torch.ones(1, 2, dtype=torch.bool), torch.randn(1, WIDTH))
    return context.pick(torch.zeros(rows, dtype=torch.long))


def every_value():
    value = torch.tensor(list(itertools.product(range(VOCAB), repeat=LENGTH)))
    return Field(value, torch.ones(len(value), 1, dtype=torch.bool), torch.ones(len(value), dtype=torch.bool))


@torch.no_grad()
def chains(head, context, value):
    """(orders, B) log-probability of each value when its ids are revealed in each order, one by one."""
    real, totals = torch.ones_like(value, dtype=torch.bool), []
    for order in itertools.permutations(range(LENGTH)):
        ids, total = torch.full_like(value, head.hidden_id), 0.0
        for place in order:
            log_probs = head.logits(ids, real, context)[:, place].log_softmax(-1)
            total = total + log_probs.gather(1, value[:, place, None])[:, 0]
            ids = ids.index_copy(1, torch.tensor([place]), value[:, place, None])
        totals.append(total)
    return torch.stack(totals)


def test_bound_is_the_mean_over_all_orders(head):
    target = every_value()
    context = make_context(len(target))
    exact = chains(head, context, target.value).mean(0)
    with torch.no_grad():
        estimate = head.log_likelihood(context, target, make_keys(0, len(target)), draws=3000)
    torch.testing.assert_close(estimate, exact, atol=0.12, rtol=0)
    assert (estimate - exact).mean().abs() < 0.02
    assert exact.exp().sum() < 0.999


def test_random_order_one_by_one_samples_the_mixture_of_orders(head):
    target, rows = every_value(), 10_000
    expected = chains(head, make_context(len(target)), target.value).exp().mean(0)
    assert expected.sum().item() == pytest.approx(1.0, abs=1e-5)
    # With as many steps as ids every step keeps one.
    drawn = head.sample(make_context(rows), make_keys(0, rows), steps=3, order="random").value
    place = (drawn * torch.tensor([VOCAB**2, VOCAB, 1])).sum(1)
    share = place.bincount(minlength=VOCAB**LENGTH) / rows
    error = (share - expected) / (expected * (1 - expected) / rows).sqrt()
    assert error.abs().max() < 5
