"""Products of Gaussians, their divergence, and priors fitted afterwards, beside closed forms."""

import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.distributions import Normal, kl_divergence

import polymodal as pm
from polymodal.fusion.poe import ProductOfExperts
from polymodal.nn.mixtures import Mixture
from polymodal.nn.random import make_keys, normal
from polymodal.types import Tokens
from refusals import refused

CPU, WIDTH, LATENT, ROWS = torch.device("cpu"), 6, 4, 3


@pytest.fixture
def tokens() -> dict[str, Tokens]:
    """Row 0 sees both fields, row 1 the second alone, row 2 nothing."""
    torch.manual_seed(0)
    masks = torch.tensor([[True, False, False], [True, True, False]])
    return {name: Tokens(torch.randn(ROWS, 1, WIDTH), mask[:, None]) for name, mask in zip("ab", masks, strict=True)}


def make(**options) -> ProductOfExperts:
    torch.manual_seed(1)
    return ProductOfExperts(["a", "b"], WIDTH, latent=LATENT, **options)


def test_the_product_of_densities_is_the_posterior(tokens):
    fusion = make()
    mean, log_std = fusion.posterior(tokens, ROWS, CPU)
    grid = torch.linspace(-6, 6, 4001)
    for row, seen in enumerate((("a", "b"), ("b",), ())):
        density = Normal(0.0, 1.0).log_prob(grid)
        for name in seen:
            own_mean, own_log_std = fusion.experts[name](tokens[name].mean)[row].detach().chunk(2)
            density = density + Normal(own_mean[0], own_log_std[0].exp()).log_prob(grid)
        weight = density.softmax(0)
        expected = (weight * grid).sum()
        torch.testing.assert_close(mean[row, 0].detach(), expected, rtol=1e-3, atol=1e-3)
        variance = (weight * (grid - expected).square()).sum()
        torch.testing.assert_close(log_std[row, 0].exp().square().detach(), variance, rtol=1e-3, atol=1e-3)


def test_the_divergence_is_that_of_gaussians(tokens):
    fusion = make(kl_weight=0.5).train()
    mean, log_std = fusion.posterior(tokens, ROWS, CPU)
    expected = 0.5 * kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1)
    context = fusion(tokens, ROWS, CPU, make_keys(0, ROWS))
    torch.testing.assert_close(context.losses["kl"], expected)
    assert float(expected[2].detach()) == pytest.approx(0, abs=1e-6)
    assert not make().eval()(tokens, ROWS, CPU).losses


def test_a_share_of_the_divergence_is_that_from_each_expert(tokens):
    fusion = make(kl_weight=1.0, conditional=0.75).train()
    mean, log_std = fusion.posterior(tokens, ROWS, CPU)
    product, expected = Normal(mean, log_std.exp()), []
    for row, seen in enumerate((("a", "b"), ("b",), ())):
        experts = [fusion.experts[name](tokens[name].mean)[row].chunk(2) for name in seen]
        own = [kl_divergence(product, Normal(m, s.exp())).sum(1)[row] for m, s in experts]
        prior = kl_divergence(product, Normal(0.0, 1.0)).sum(1)[row]
        expected.append(0.25 * prior + 0.75 * sum(own) / max(len(own), 1))
    context = fusion(tokens, ROWS, CPU, make_keys(0, ROWS))
    torch.testing.assert_close(context.losses["kl"], torch.stack(expected))
    with refused("conditional", "not 2", "less than or equal to 1", by=pm.ConfigError):
        make(conditional=2)


def test_draws_have_the_posterior_moments(tokens):
    fusion = make().eval()
    mean, log_std = (x.detach() for x in fusion.posterior(tokens, ROWS, CPU))
    many = {
        name: Tokens(part.x[:1].expand(4000, -1, -1), part.mask[:1].expand(4000, -1)) for name, part in tokens.items()
    }
    leave = torch.linalg.pinv(fusion.proj_out.weight)
    with torch.no_grad():
        z = (fusion(many, 4000, CPU, make_keys(0, 4000)).pooled - fusion.proj_out.bias) @ leave
    torch.testing.assert_close(z.mean(0), mean[0], atol=0.06, rtol=0)
    torch.testing.assert_close(z.std(0), log_std[0].exp(), atol=0.05, rtol=0.05)


@pytest.fixture(scope="module")
def clusters() -> torch.Tensor:
    """Draws around three corners."""
    torch.manual_seed(2)
    corners = torch.tensor([[3.0, 0, 0, 3], [-3, 3, 0, 0], [0, -3, 3, -3]])
    return corners[torch.randint(3, (3000,))] + 0.3 * torch.randn(3000, LATENT)


def test_a_mixture_is_that_of_scikit_learn(clusters):
    mixture = Mixture(LATENT, 3)
    mixture.fit(clusters)
    theirs = GaussianMixture(3, covariance_type="diag", random_state=0, reg_covar=1e-5).fit(clusters.double().numpy())
    expected = torch.from_numpy(theirs.score_samples(clusters[:50].double().numpy())).float()
    torch.testing.assert_close(mixture.log_prob(clusters[:50]), expected, rtol=1e-4, atol=1e-4)
    keys = make_keys(0, 6000)
    drawn = mixture.draw(keys, normal(keys, (LATENT,)))
    torch.testing.assert_close(drawn.mean(0), clusters.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(clusters.T), atol=0.3, rtol=0)


@pytest.mark.parametrize("kind", ["mixture", "flow"])
def test_a_fitted_prior_draws_where_the_codes_are(kind, clusters):
    fusion = make()
    before = fusion.fit_prior(clusters, kind="standard")
    assert before == pytest.approx(float(Normal(0.0, 1.0).log_prob(clusters[-300:]).sum(1).mean()), rel=1e-5)
    after = fusion.fit_prior(clusters, kind=kind, components=3, steps=400)
    assert after > before + 3
    fusion.eval()
    keys = make_keys(3, 500)
    leave = torch.linalg.pinv(fusion.proj_out.weight)
    with torch.no_grad():
        context = fusion({}, 500, CPU, keys)
        z = (context.pooled - fusion.proj_out.bias) @ leave
    torch.testing.assert_close(z, context.latent, atol=1e-4, rtol=1e-4)
    nearest = torch.cdist(z, clusters).min(1).values
    assert float((nearest < 0.7).float().mean()) > 0.85
    standard = normal(keys, (LATENT,))
    assert float((torch.cdist(standard, clusters).min(1).values < 0.7).float().mean()) < 0.4


def test_a_row_that_sees_something_does_not_ask_the_prior(tokens, clusters):
    plain, fitted = make().eval(), make().eval()
    fitted.fit_prior(clusters, components=3)
    keys = make_keys(0, ROWS)
    one, other = plain(tokens, ROWS, CPU, keys).pooled, fitted(tokens, ROWS, CPU, keys).pooled
    torch.testing.assert_close(one[:2], other[:2])
    assert not torch.allclose(one[2], other[2], atol=1e-2)


def test_a_private_latent_is_heard_where_its_own_field_is_given(tokens):
    fusion = make(private=2, kl_weight=1.0)
    keys = make_keys(0, ROWS)
    context = fusion.train()(tokens, ROWS, CPU, keys)
    plain = fusion.posterior(tokens, ROWS, CPU)
    expected = kl_divergence(Normal(plain[0], plain[1].exp()), Normal(0.0, 1.0)).sum(1)
    for name in "ab":
        mean, log_std = fusion.private[name].expert(tokens[name].mean).chunk(2, dim=1)
        own = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1)
        expected = expected + own * tokens[name].seen
    torch.testing.assert_close(context.losses["kl"], expected)
    # a head is told of its own and of nobody else's
    told = context.of("a")
    torch.testing.assert_close(told.pooled, context.pooled + context.private["a"])
    assert told.mask.shape == (ROWS, 2)
    assert not told.private
    # what b is changes b's private part where b is seen, and a's nowhere
    other = {**tokens, "b": Tokens(tokens["b"].x + 1, tokens["b"].mask)}
    changed = fusion(other, ROWS, CPU, keys)
    torch.testing.assert_close(changed.private["a"], context.private["a"])
    moved = (changed.private["b"] != context.private["b"]).any(1)
    assert moved.tolist() == tokens["b"].seen.tolist()


def test_an_unseen_private_latent_comes_from_the_auxiliary_prior_in_training_alone():
    fusion = make(private=2)
    with torch.no_grad():
        fusion.private["a"].auxiliary.fill_(-1.0)
    keys, leave = make_keys(0, 4000), fusion.private["a"].proj_out
    for mode, deviation in ((True, torch.tensor(-1.0).exp()), (False, torch.tensor(1.0))):
        with torch.no_grad():
            private = fusion.train(mode)({}, 4000, CPU, keys).private["a"]
            w = (private - leave.bias) @ torch.linalg.pinv(leave.weight)
        torch.testing.assert_close(w.std(0), deviation.expand(2), rtol=0.05, atol=0)
    assert not make()({}, 1, CPU).private


def test_a_latent_that_cannot_be_is_refused():
    with refused("latent", "not 3", "multiple of 2", by=pm.ConfigError):
        ProductOfExperts(["a"], WIDTH, latent=3)
    with refused("private", "not -1", "greater than or equal to 0", by=pm.ConfigError):
        ProductOfExperts(["a"], WIDTH, private=-1)


def test_a_mixture_draws_one_of_the_visible_experts(tokens):
    """Of two fields that disagree half of the draws are as each says; the product would lie between both."""
    fusion, rows = make(experts="mixture").eval(), 4000
    with torch.no_grad():
        for place, name in enumerate("ab"):
            expert = fusion.experts[name]
            expert.weight.zero_()
            expert.bias[:LATENT], expert.bias[LATENT:] = (-6.0, 6.0)[place], -2.0
    many = {
        name: Tokens(part.x[:1].expand(rows, -1, -1), part.mask[:1].expand(rows, -1)) for name, part in tokens.items()
    }
    alone = {}
    for name in "ab":
        alone[name] = fusion({name: many[name]}, rows, CPU, make_keys(0, rows)).latent
    z = fusion(many, rows, CPU, make_keys(0, rows)).latent
    low, high = z[z[:, 0] < 0], z[z[:, 0] > 0]
    assert len(low) / rows == pytest.approx(0.5, abs=0.03)
    for mine, theirs in ((low, alone["a"]), (high, alone["b"])):
        torch.testing.assert_close(mine.mean(0), theirs.mean(0), atol=0.02, rtol=0)
        torch.testing.assert_close(mine.std(0), theirs.std(0), atol=0.02, rtol=0)
    product = make().eval()
    product.load_state_dict(fusion.state_dict())
    assert product(many, rows, CPU, make_keys(0, rows)).latent.abs().max() < 1.5


def test_a_mixture_hears_who_is_visible_and_the_surest_where_nothing_is_drawn(tokens):
    fusion, product = make(experts="mixture", private=2).train(), make(private=2).train()
    context, expected = (f(tokens, ROWS, CPU, make_keys(0, ROWS)) for f in (fusion, product))
    for row in (1, 2):  # one field and none: there is nothing to choose
        torch.testing.assert_close(context.latent[row], expected.latent[row])
        torch.testing.assert_close(context.losses["kl"][row], expected.losses["kl"][row])
    assert not torch.equal(context.latent[0], expected.latent[0])
    torch.testing.assert_close(context.private["a"], expected.private["a"]), "what a field alone knows, it still tells"
    with torch.no_grad():
        fusion.experts["b"].bias[LATENT:] -= 5.0
    likeliest = fusion.eval()(tokens, ROWS, CPU).latent[0]
    torch.testing.assert_close(likeliest, fusion({"b": tokens["b"]}, ROWS, CPU).latent[0])
