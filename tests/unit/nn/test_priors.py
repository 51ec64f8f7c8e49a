"""Priors: the map can be inverted, its volume is that of its Jacobian, the divergence is what draws say."""

import math

import pytest
import torch
from torch import nn

from polymodal.errors import ConfigError
from polymodal.nn.priors import Prior, gaussian_log_prob
from polymodal.nn.random import make_keys, normal

KINDS = ["standard", "conditional", "flow"]


def make_prior(kind: str, latent: int = 4) -> Prior:
    """With random weights, zero though some start."""
    torch.manual_seed(0)
    prior = Prior(latent, 6, kind=kind, couplings=3, hidden_size=8)
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.3)
    return prior


@pytest.mark.parametrize("kind", KINDS)
def test_colour_undoes_whiten_and_the_volume_is_the_jacobian(kind):
    prior, z, context = make_prior(kind), normal(make_keys(0, 5), (4,)), normal(make_keys(1, 5), (6,))
    noise, volume = prior.whiten(z, context)
    torch.testing.assert_close(prior.colour(noise, context), z, rtol=1e-4, atol=1e-4)
    for k in range(5):
        jacobian = torch.autograd.functional.jacobian(
            lambda x, k=k: prior.whiten(x[None], context[k : k + 1])[0][0], z[k]
        )
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], volume[k], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_density_integrates_to_one(kind):
    prior, context = make_prior(kind, latent=2), normal(make_keys(1, 1), (6,))
    side = torch.linspace(-30, 30, 601)
    grid = torch.cartesian_prod(side, side)
    density = prior.log_prob(grid, context.expand(len(grid), -1)).exp()
    assert density.sum().item() * 0.1**2 == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_divergence_is_what_many_draws_say(kind):
    prior, rows = make_prior(kind), 40_000
    mean, log_std = torch.tensor([[0.5, -1.0, 0.0, 2.0]]), torch.tensor([[-0.5, 0.2, 0.0, -1.0]])
    context = normal(make_keys(1, 1), (6,)).expand(rows, -1)
    z = mean + log_std.exp() * normal(make_keys(2, rows), (4,))
    drawn = gaussian_log_prob(z, mean, log_std).sum(1) - prior.log_prob(z, context)
    got = prior.divergence(mean.expand(rows, -1), log_std.expand(rows, -1), z, context)
    assert got.shape == (rows, 1 if kind == "flow" else 4)
    error = 4 * drawn.std().item() / math.sqrt(rows)
    assert got.sum(1).mean().item() == pytest.approx(drawn.mean().item(), abs=error)


def test_a_flow_learns_two_modes_that_its_context_places():
    torch.manual_seed(0)
    prior = Prior(2, 1, kind="flow", couplings=3, hidden_size=32)
    optimizer = torch.optim.Adam(prior.parameters(), lr=5e-3)

    def draw(rows, seed):
        keys = make_keys(seed, rows)
        told = torch.where(torch.arange(rows) % 2 == 0, 1.0, -1.0)[:, None]
        sign = torch.where(torch.arange(rows) // 2 % 2 == 0, 1.5, -1.5)
        z = 0.3 * normal(keys, (2,))
        z[:, 0] += sign
        z[:, 1] += told[:, 0] * sign  # the modes lie on one diagonal or on the other
        return z, told

    for step in range(200):
        z, told = draw(128, step)
        loss = -prior.log_prob(z, told).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    z, told = draw(2000, 10_000)
    entropy = 2 * (0.5 + 0.5 * math.log(2 * math.pi) + math.log(0.3)) + math.log(2)
    assert -prior.log_prob(z, told).mean().item() < entropy + 0.3
    made = prior.colour(normal(make_keys(1, 2000), (2,)), told)
    assert ((made[:, 0] * made[:, 1] * told[:, 0]) > 0).float().mean() > 0.95


def test_an_odd_latent_cannot_be_halved():
    with pytest.raises(ConfigError, match="latent: 5 is odd; a prior of kind 'flow' halves it"):
        Prior(5, 6, kind="flow")
