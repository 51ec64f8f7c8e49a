"""The mixture head: a density in closed form, learned from few rows."""

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from contract.spaces import WIDTH, make_context, make_field
from polymodal.heads.mixture import MixtureDensity
from polymodal.nn.random import make_keys
from polymodal.types import Context, Field, Space

SPACE = Space("continuous", (2,))


def make(**arguments):
    torch.manual_seed(0)
    head = MixtureDensity(SPACE, WIDTH, heads=2, **arguments)
    torch.nn.init.normal_(head.moments.weight, std=0.3)
    return head.eval()


def test_the_likelihood_is_that_of_torch():
    head, context, target = make(), make_context(), make_field(SPACE)
    log_weights, means, log_stds = head._distribution(context)
    parts = Independent(Normal(means, log_stds.exp()), 1)
    known = MixtureSameFamily(Categorical(logits=log_weights), parts).log_prob(target.value)
    torch.testing.assert_close(head.log_likelihood(context, target, make_keys(0, 4)), known)
    torch.testing.assert_close(head.loss(context, target, "model", make_keys(0, 4))["nll"], -known / 2)


def test_draws_and_support_have_the_mean_and_the_spread_of_the_distribution():
    head, context = make(), make_context(rows=1)
    many = head.sample(context.pick(torch.zeros(4000, dtype=torch.int64)), make_keys(1, 4000)).value
    values, weights = head.support(context)
    mean = (values * weights[..., None]).sum(0)
    torch.testing.assert_close(weights.sum(0), torch.ones(1))
    torch.testing.assert_close(head.sample(context, make_keys(0, 1), temperature=0.0).value, mean)
    torch.testing.assert_close(many.mean(0, keepdim=True), mean, atol=0.08, rtol=0)
    spread = ((values - mean) ** 2 * weights[..., None]).sum(0).sqrt()
    torch.testing.assert_close(many.std(0, keepdim=True), spread, atol=0.08, rtol=0)


def test_it_learns_two_peaks_from_hundreds_of_rows():
    torch.manual_seed(0)
    head = MixtureDensity(Space("continuous", (1,)), 8, depth=0, dropout=0.0)
    pooled = torch.randint(0, 2, (300, 1)).float() * torch.ones(300, 8)
    context = Context(pooled[:, None], torch.ones(300, 1, dtype=torch.bool), pooled)
    sign = torch.randint(0, 2, (300, 1)) * 2.0 - 1
    target = Field.full(sign * (1 + pooled[:, :1]) + 0.05 * torch.randn(300, 1))  # at -1 and 1, or at -2 and 2
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        head.loss(context, target, "model", make_keys(0, 300))["nll"].mean().backward()
        optimizer.step()
    made = head.eval().sample(context, make_keys(3, 300)).value.abs()
    torch.testing.assert_close(made, 1 + pooled[:, :1], atol=0.4, rtol=0)
    assert head.sample(context, make_keys(3, 300), temperature=0.0).value.abs().max() < 0.5


def test_one_row_far_away_is_worth_a_bounded_loss():
    head, context = make(), make_context()
    far = Field.full(torch.full((4, 2), 1e4))
    assert torch.isfinite(head.loss(context, far, "model", make_keys(0, 4))["nll"]).all()
