"""The importance-weighted bound against the integral over z, and against the likelihood of a linear Gaussian model."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from polymodal.heads.vae import VariationalAutoencoder
from polymodal.nn.layers import Linear
from polymodal.nn.random import make_keys, normal
from polymodal.types import Context, Field, Space

WIDTH = 8


def make_head(space: Space, **options) -> VariationalAutoencoder:
    torch.manual_seed(0)
    head = VariationalAutoencoder(
        space, WIDTH, latent=1, hidden_size=16, channels=(8,), depth=1, heads=2, prior="conditional", **options
    )
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    nn.init.normal_(head.moments.weight, std=0.05)
    head.moments.bias.data = torch.tensor([0.0, 0.5])  # wide: draws from it reach all of the true posterior
    return head.eval()


def one_context(rows: int) -> Context:
    x = normal(make_keys(5, 1), (2, WIDTH)).expand(rows, -1, -1)
    return Context(x, torch.ones(rows, 2, dtype=torch.bool), x.mean(1))


def integral(head: VariationalAutoencoder, target: Field) -> torch.Tensor:
    """log of the integral of p(target | z) p(z) by quadrature over the one dimension of z."""
    points = torch.linspace(-12, 12, 400)
    row, point = torch.arange(len(target)).repeat_interleave(len(points)), points.repeat(len(target))[:, None]
    context = one_context(len(row))
    with torch.no_grad():
        log_joint = head.prior.log_prob(point, context.pooled)
        log_joint = log_joint - head.ends.nll(point, context, target.pick(row), make_keys(0, len(row)))
    return log_joint.view(len(target), -1).logsumexp(1) + math.log(24 / 399)


def test_ids_all_of_which_can_be_counted():
    head = make_head(Space("discrete", (2,), vocab=3))
    every = torch.tensor(list(itertools.product(range(3), repeat=2)))
    mask = torch.ones(9, 1, dtype=torch.bool)
    target, context = Field(every, mask, mask[:, 0]), one_context(1)
    exact = integral(head, target)
    assert exact.exp().sum().item() == pytest.approx(1.0, abs=1e-3)
    # Many bounds for each: their means rise to the likelihood with the samples, and their weights are unbiased.
    index = torch.arange(9).repeat_interleave(128)
    one, many = (
        head.log_likelihood(context.pick(0 * index), target.pick(index), make_keys(1, len(index)), samples=n)
        for n in (1, 16)
    )
    one, many = one.view(9, 128), many.view(9, 128)
    assert (one.mean(1) < many.mean(1)).all()
    assert (many.mean(1) < exact + 0.05).all()
    torch.testing.assert_close(many.exp().mean(1), exact.exp(), rtol=0.2, atol=0)


def test_values_by_quadrature():
    head = make_head(Space("continuous", (3,)), variance=0.3)
    value = normal(make_keys(3, 6), (3,))
    mask = torch.ones(6, 1, dtype=torch.bool)
    target, context = Field(value, mask, mask[:, 0]), one_context(6)
    bound = head.log_likelihood(context, target, make_keys(1, 6), samples=512)
    torch.testing.assert_close(bound, integral(head, target), rtol=0, atol=0.1)
    loss = {name: torch.stack([head.loss(context, target, "model", make_keys(n, 6))[name] for n in range(200)]).mean(0)
            for name in ("nll", "kl")}  # fmt: skip
    assert (-3 * (loss["nll"] + loss["kl"]) < bound + 0.05).all()  # the evidence bound is lower, and per element


def test_a_linear_gaussian_model_has_the_likelihood_of_its_covariance():
    head = make_head(Space("continuous", (3,)), variance=0.3)
    slope = torch.tensor([[0.8, -0.5, 0.3]])
    head.ends.proj_in, head.ends.decoder = nn.Identity(), Linear(1 + WIDTH, 3)
    head.ends.decoder.weight.data = torch.cat([slope, torch.zeros(WIDTH, 3)])
    head.prior.gaussian.weight.data.zero_()
    head.prior.gaussian.bias.data.zero_()
    value = normal(make_keys(3, 6), (3,))
    mask = torch.ones(6, 1, dtype=torch.bool)
    bound = head.log_likelihood(one_context(6), Field(value, mask, mask[:, 0]), make_keys(1, 6), samples=512)
    exact = MultivariateNormal(torch.zeros(3), slope.T @ slope + 0.3 * torch.eye(3)).log_prob(value)
    torch.testing.assert_close(bound, exact, rtol=0, atol=0.15)


def test_a_length_that_varies_is_part_of_the_likelihood():
    head = make_head(Space("continuous", (2, 4), varies=1), variance=1.0)
    head.proj_context.weight.data.zero_()
    mask = torch.arange(4) < torch.tensor([[2], [4]])
    value = normal(make_keys(3, 2), (2, 4)) * mask[:, None]
    context, target = one_context(2), Field(value, mask, mask[:, 0], 1)
    whole = head.log_likelihood(context, target, make_keys(1, 2), samples=4)
    of_length = head.ends.length.logits(context.pooled).log_softmax(1)[torch.arange(2), torch.tensor([1, 3])]
    head.ends.length.logits.weight.data.zero_()
    head.ends.length.logits.bias.data.zero_()
    even = head.log_likelihood(context, target, make_keys(1, 2), samples=4)
    torch.testing.assert_close(whole - of_length, even + math.log(4), rtol=1e-4, atol=1e-4)
