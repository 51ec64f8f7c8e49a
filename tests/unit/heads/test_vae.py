"""The vae head: what it refuses, what its loss is made of, that it learns, and that its posterior does not collapse."""

from dataclasses import replace

import pytest
import torch

from polymodal.errors import ConfigError
from polymodal.heads.vae import VariationalAutoencoder
from polymodal.nn.random import fold, make_keys, normal, uniform
from polymodal.types import Context, Field, Space
from refusals import refused

WIDTH = 8
VECTOR = Space("continuous", (2,))
PICTURE = Space("continuous", (1, 8, 8))
SOUND = Space("continuous", (3, 10), varies=1)
TEXT = Space("discrete", (8,), vocab=20, varies=0)
SMALL = {"latent": 4, "hidden_size": 16, "channels": (8, 8), "depth": 1, "heads": 2}


def make_head(space: Space, **options) -> VariationalAutoencoder:
    torch.manual_seed(0)
    return VariationalAutoencoder(space, WIDTH, **SMALL | options)


def mark(which: torch.Tensor) -> Context:
    """A context that says a number."""
    pooled = torch.eye(WIDTH)[which]
    return Context(pooled[:, None], torch.ones(len(which), 1, dtype=torch.bool), pooled)


def full(value: torch.Tensor) -> Field:
    mask = torch.ones(len(value), 1, dtype=torch.bool)
    return Field(value, mask, mask[:, 0])


def text(ids: torch.Tensor) -> Field:
    """Rows of ids, ended."""
    value = torch.cat([ids, torch.ones_like(ids[:, :1])], dim=1)
    return Field.full(value, value != 0, 0)


def learn(head: VariationalAutoencoder, draw, steps: int, rate: float = 4e-3) -> None:
    """``draw(step)`` gives a context and a target."""
    optimizer = torch.optim.Adam(head.parameters(), lr=rate)
    head.train()
    for step in range(steps):
        context, target = draw(step)
        head.lr_scale("model", step / steps)
        losses = head.loss(context, target, "model", make_keys(7, len(target), start=1000 * step))
        optimizer.zero_grad()
        sum(loss.mean() for loss in losses.values()).backward()
        optimizer.step()
    head.eval()


@pytest.mark.parametrize("prior", ["conditional", "flow"])
def test_learns_two_modes_of_each_condition(prior):
    """The mean lies between the modes, where nothing is: only z can tell them apart."""

    def draw(step):
        keys = make_keys(step, 128)
        which, side = torch.arange(128) % 2, (uniform(fold(keys, 1)) < 0.5).float() * 2 - 1
        value = 0.1 * normal(keys, (2,))
        value[:, 0] += side
        value[:, 1] += side * (2 * which - 1)
        return mark(which), full(value)

    head = make_head(VECTOR, prior=prior, latent=2, channels=(32,), hidden_size=32)
    learn(head, draw, 150)
    which = torch.arange(400) % 2
    made = head.sample(mark(which), make_keys(1, 400)).value
    on_diagonal = (made[:, 0] * made[:, 1] * (2 * which - 1)) > 0
    assert on_diagonal.float().mean() > 0.9
    for number in (0, 1):
        share = (made[which == number, 0] > 0).float().mean()
        assert 0.25 < share < 0.75
    context, target = draw(10_000)
    assert head.active_units(context, target) >= 1
    assert head.ends.variance.max() < 0.2


def test_a_text_posterior_does_not_collapse():
    """One of sixteen words, said three times: one word is worth ln 16 = 2.8 nats, and z must say it."""

    def draw(step):
        word = 3 + (16 * uniform(make_keys(step, 64))).long()
        return mark(torch.zeros(64, dtype=torch.long)), text(word[:, None].expand(-1, 3))

    head = make_head(TEXT, hidden_size=32, word_dropout=0.5, anneal=100, free_nats=0.1)
    context, target = draw(10_000)
    before = head.eval().loss(context, target, "model", make_keys(0, 64))
    learn(head, draw, 150)
    after = head.loss(context, target, "model", make_keys(0, 64))
    assert after["nll"].mean() < 0.5 < before["nll"].mean()
    assert 4 * after["kl"].mean() > 1.5
    assert head.active_units(context, target) >= 2
    made = head.sample(context, make_keys(1, 64)).value
    assert len({tuple(row) for row in made.tolist()}) > 8
    mode = head.sample(context, make_keys(1, 64), temperature=0.0, decoder_temperature=0.0).value
    assert (mode == mode[:1]).all()


def test_the_weight_of_the_divergence_climbs_in_training_only():
    head, keys = make_head(VECTOR, anneal=4, prior="standard"), make_keys(0, 3)
    context, target = mark(torch.arange(3)), full(normal(keys, (2,)))
    whole = head.eval().loss(context, target, "model", keys)["kl"]
    head.train()
    for share in (0, 0.25, 0.5, 0.75, 1, 1):
        head.lr_scale("model", 0.0)
        for _ in range(3):  # parts of one step
            torch.testing.assert_close(head.loss(context, target, "model", keys)["kl"], share * whole)
    copy = make_head(VECTOR, anneal=4, prior="standard")
    copy.load_state_dict(head.state_dict())  # how far it is goes with the weights
    torch.testing.assert_close(copy.loss(context, target, "model", keys)["kl"], whole)


@pytest.mark.parametrize("prior", ["standard", "flow"])
def test_free_nats_are_the_least_divergence(prior):
    keys = make_keys(0, 3)
    context, target = mark(torch.arange(3)), full(normal(keys, (2,)))
    head = make_head(VECTOR, free_nats=50.0, prior=prior).eval()
    torch.testing.assert_close(head.loss(context, target, "model", keys)["kl"], torch.full((3,), 4 * 50.0 / 2))
    plain, floored = make_head(VECTOR, prior=prior).eval(), make_head(VECTOR, prior=prior, free_nats=1e-3).eval()
    assert (
        floored.loss(context, target, "model", keys)["kl"] >= plain.loss(context, target, "model", keys)["kl"]
    ).all()


def test_the_optimal_variance_is_the_mean_squared_error_of_each_channel():
    head = make_head(SOUND)
    lengths = torch.tensor([4, 10])
    mask = torch.arange(10) < lengths[:, None]
    value = torch.tensor([1.0, 2.0, 3.0])[None, :, None] * mask[:, None]
    with torch.no_grad():
        for parameter in head.ends.decoder.parameters():
            parameter.zero_()  # it paints zeros, so the values are the errors
    head.lr_scale("model", 0.0)
    for row in (0, 1):  # parts of one step, of which the longer one weighs more
        part = Field(value[row : row + 1], mask[row : row + 1], mask[row : row + 1, 0], 1)
        head.loss(mark(torch.tensor([row])), part, "model", make_keys(0, 1))
        assert torch.equal(head.ends.variance, torch.ones(3))
    head.lr_scale("model", 0.0)
    torch.testing.assert_close(head.ends.variance, torch.tensor([1.0, 4.0, 9.0]))
    head.eval()
    loss = head.loss(mark(torch.arange(2)), Field(2 * value, mask, mask[:, 0], 1), "model", make_keys(0, 2))
    torch.testing.assert_close(head.ends.variance, torch.tensor([1.0, 4.0, 9.0]))
    expected = torch.distributions.Normal(0.0, torch.tensor([1.0, 2.0, 3.0]))
    nll = -expected.log_prob(torch.tensor([2.0, 4.0, 6.0])).mean()
    torch.testing.assert_close(loss["nll"], nll.expand(2))


def test_temperatures():
    head, keys, context = make_head(PICTURE, prior="flow").eval(), make_keys(0, 6), mark(torch.zeros(6).long())
    for parameter in head.ends.decoder.parameters():
        parameter.data.normal_(std=0.3)
    made, cold = head.sample(context, keys).value, head.sample(context, keys, temperature=0.0).value
    assert made.std(0).mean() > 0.01
    torch.testing.assert_close(cold, cold[:1].expand(6, -1, -1, -1))
    noisy = head.sample(context, keys, decoder_temperature=0.5).value
    assert (noisy - made).std().item() == pytest.approx(0.5, rel=0.2)  # the variance starts at 1
    head.options = replace(head.options, temperature=0.0)  # the defaults
    assert torch.equal(head.sample(context, keys).value, cold)
    assert torch.equal(head.sample(context, keys, temperature=1.0).value, made)


def test_a_fixed_variance_stays():
    head, keys = make_head(VECTOR, variance=0.25), make_keys(0, 3)
    head.loss(mark(torch.arange(3)), full(normal(keys, (2,))), "model", keys)
    head.lr_scale("model", 0.0)
    assert head.ends.variance.tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("space", "options", "parts"),
    [
        (VECTOR, {"latent": 0}, ("latent", "not 0", "greater than 0")),
        (VECTOR, {"latent": 3, "prior": "flow"}, ("latent: 3", "odd")),
        (VECTOR, {"kl_weight": -1.0}, ("kl_weight", "not -1.0", "greater than or equal to 0")),
        (VECTOR, {"variance": 0.0}, ("variance", "not 0.0", "0.0001")),
        (VECTOR, {"channels": ()}, ("channels", "at least 1 item")),
        (TEXT, {"heads": 3}, ("heads: 3", "half", "16")),
    ],
)
def test_wrong_arguments(space, options, parts):
    with refused(*parts, by=ConfigError):
        make_head(space, **options)


@pytest.mark.parametrize(
    ("space", "options", "parts"),
    [
        (VECTOR, {"temprature": 1.0}, ("options", "'temprature'", "'temperature'")),
        (VECTOR, {"top_k": 4}, ("options", "'top_k'")),
        (VECTOR, {"temperature": -1.0}, ("options.temperature", "not -1.0")),
        (TEXT, {"decoder_temperature": -1.0}, ("options.decoder_temperature", "not -1.0")),
        (TEXT, {"top_p": 0.0}, ("options.top_p", "not 0.0", "greater than 0")),
        (TEXT, {"max_length": 9}, ("options.max_length: 9", "8 positions")),
    ],
)
def test_wrong_sampling_options(space, options, parts):
    with refused(*parts, by=ConfigError):
        make_head(space).sample(mark(torch.arange(2)), make_keys(0, 2), **options)


def test_what_it_refuses():
    assert "up to two dimensions" in VariationalAutoencoder.accepts(Space("continuous", (3, 4, 8, 8)))
    assert "2 axes" in VariationalAutoencoder.accepts(Space("discrete", (4, 4), vocab=9))
