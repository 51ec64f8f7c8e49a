"""The decoder head: its likelihoods beside those of torch, what it refuses, and that it tells z's value in one pass."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Laplace, Normal

from polymodal.errors import ConfigError
from polymodal.heads.decoder import Decoder
from polymodal.heads.lengths import Lengths
from polymodal.nn.random import make_keys
from polymodal.types import Context, Field, Space
from refusals import refused

WIDTH = 8
VECTOR = Space("continuous", (3,))
SOUND = Space("continuous", (3, 10), varies=1)
TEXT = Space("discrete", (8,), vocab=20, varies=0)
LABEL = Space("discrete", (1,), vocab=5)
SMALL = {"hidden_size": 16, "channels": (16,), "depth": 1, "heads": 2}


def make_head(space: Space, **options) -> Decoder:
    torch.manual_seed(0)
    return Decoder(space, WIDTH, **SMALL | options)


def mark(which: torch.Tensor) -> Context:
    """A context that says a number."""
    pooled = torch.eye(WIDTH)[which]
    return Context(pooled[:, None], torch.ones(len(which), 1, dtype=torch.bool), pooled)


def full(value: torch.Tensor) -> Field:
    mask = torch.ones(len(value), 1, dtype=torch.bool)
    return Field(value, mask, mask[:, 0])


def words(which: torch.Tensor) -> Field:
    """Text of ``which + 2`` ids, the end included; each word has ids of its own."""
    place = torch.arange(6)[None]
    last = which[:, None] + 1
    value = torch.where(place < last, 3 + which[:, None] * 3 + place % 3, (place == last).long())
    return Field.full(value, place <= last, 0)


def learn(head: Decoder, target, steps: int, rate: float = 1e-2) -> None:
    optimizer = torch.optim.Adam(head.parameters(), lr=rate)
    head.train()
    for _ in range(steps):
        which = torch.arange(32) % 4
        head.lr_scale("model", 0.0)
        losses = head.loss(mark(which), target(which), "model", make_keys(0, 32))
        optimizer.zero_grad()
        sum(loss.mean() for loss in losses.values()).backward()
        optimizer.step()
    head.eval()


@pytest.mark.parametrize(("likelihood", "distribution"), [("gaussian", Normal), ("laplace", Laplace)])
def test_a_likelihood_is_that_of_torch(likelihood, distribution):
    head = make_head(VECTOR, likelihood=likelihood, variance=0.5).eval()
    context, value = mark(torch.arange(4)), torch.randn(4, 3)
    middle = head.sample(context, make_keys(0, 4)).value
    scale = 0.5**0.5 if likelihood == "gaussian" else 0.5  # the variance of a Laplace distribution is 2 scale^2
    expected = distribution(middle, scale).log_prob(value)
    torch.testing.assert_close(head.loss(context, full(value), "model", make_keys(0, 4))["nll"], -expected.mean(1))
    torch.testing.assert_close(head.log_likelihood(context, full(value), make_keys(0, 4)), expected.sum(1))
    drawn = head.sample(mark(torch.zeros(20_000, dtype=torch.long)), make_keys(1, 20_000), temperature=1.0).value
    torch.testing.assert_close(drawn.mean(0), middle[0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), torch.full((3,), 0.5), atol=0.03, rtol=0)
    deviation = scale * (2 / math.pi) ** 0.5 if likelihood == "gaussian" else scale
    assert float((drawn - middle[0]).abs().mean()) == pytest.approx(deviation, abs=0.02)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
def test_the_optimal_variance_is_that_of_the_errors(likelihood):
    head = make_head(VECTOR, likelihood=likelihood).train()
    context, value = mark(torch.arange(4)), torch.randn(4, 3)
    error = head.sample(context, make_keys(0, 4)).value - value
    head.loss(context, full(value), "model", make_keys(0, 4))
    absent = replace(full(value), present=torch.zeros(4, dtype=torch.bool))
    head.loss(context, absent, "model", make_keys(0, 4))  # what a process calls that lacks the field counts nothing
    head.lr_scale("model", 0.0)
    expected = error.square().mean(0) if likelihood == "gaussian" else 2 * error.abs().mean(0).square()
    torch.testing.assert_close(head.ends.variance, expected)


def test_ids_and_their_number_are_told_in_one_pass():
    head = make_head(TEXT)
    learn(head, words, 150)
    which = torch.arange(4)
    made, real = head.sample(mark(which), make_keys(0, 4)), words(which)
    assert torch.equal(made.mask, real.mask[:, : made.mask.shape[1]])
    assert torch.equal(made.value, real.value[:, : made.value.shape[1]])
    label = make_head(LABEL)
    learn(label, lambda which: full(which[:, None]), 60)
    assert torch.equal(label.sample(mark(which), make_keys(0, 4)).value[:, 0], which)
    assert float(label.log_likelihood(mark(which), full(which[:, None]), make_keys(0, 4)).min()) > -0.2


def test_probabilities_of_text_are_those_of_its_places_and_length():
    head = make_head(TEXT).eval()
    context, real = mark(torch.arange(4)), words(torch.arange(4))
    losses = head.loss(context, real, "model", make_keys(0, 4))
    inner = real.lengths - 1  # the end's place is given by the length
    expected = -losses["nll"] * inner - losses["length"] / Lengths.WEIGHT
    torch.testing.assert_close(head.log_likelihood(context, real, make_keys(0, 4)), expected)
    drawn = head.sample(mark(torch.zeros(50, dtype=torch.long)), make_keys(2, 50), temperature=1.0)
    assert len(set(drawn.lengths.tolist())) > 2
    assert (drawn.value.gather(1, drawn.lengths[:, None] - 1) == 1).all()


def test_sound_of_its_own_length():
    head = make_head(SOUND)

    def tone(which):
        mask = torch.arange(8)[None] < 2 + which[:, None] * 2
        return Field(torch.ones(len(which), 3, 8) * which[:, None, None] * mask[:, None], mask, mask[:, 0], 1)

    learn(head, tone, 150)
    which = torch.arange(4)
    made = head.sample(mark(which), make_keys(0, 4))
    assert made.lengths.tolist() == [2, 4, 6, 8]
    torch.testing.assert_close(made.value, tone(which).value, atol=0.3, rtol=0)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"variance": 0.0}, ("variance", "not 0.0", "0.0001")),
        ({"channels": ()}, ("channels", "not 0", "at least 1 item")),
        ({"channels": (8, 0)}, ("channels.1", "not 0", "greater than 0")),
        ({"hidden_size": 0}, ("hidden_size", "not 0", "greater than 0")),
        ({"heads": 3}, ("heads: 3", "16")),
        ({"depth": -1}, ("depth", "not -1", "greater than or equal to 0")),
        ({"temperature": -1.0}, ("temperature", "not -1.0", "greater than or equal to 0")),
    ],
)
def test_what_cannot_be_is_refused(options, parts):
    with refused(*parts, by=ConfigError):
        make_head(TEXT, **options)


def test_a_temperature_below_zero_is_refused():
    with refused("options.temperature", "not -1.0", by=ConfigError):
        make_head(LABEL).sample(mark(torch.arange(2)), make_keys(0, 2), temperature=-1.0)
