"""Samplers that invert a distribution function stay finite, and what is impossible stays so, at both ends of [0, 1)."""

import math

import pytest
import torch

from polymodal.heads.gan import truncated_normal
from polymodal.heads.lengths import Lengths
from polymodal.heads.token_sampling import DecodingOptions, forbid, forbidden_ids, gumbel
from polymodal.heads.values import ValueDecoder
from polymodal.nn import random
from polymodal.nn.mixtures import Mixture
from polymodal.nn.random import choose, fold, make_keys, normal, open_uniform, uniform
from polymodal.types import Space

WHOLE = 2**64


def key_before(output: int, stream: int) -> int:
    """The key whose ``stream`` is ``output``: the finaliser of SplitMix64, backwards."""
    x = output ^ output >> 31 ^ output >> 62
    x = x * pow(random._MIX_2 % WHOLE, -1, WHOLE) % WHOLE
    x ^= x >> 27 ^ x >> 54
    x = x * pow(random._MIX_1 % WHOLE, -1, WHOLE) % WHOLE
    x ^= x >> 30 ^ x >> 60
    return (x - random._GOLDEN * (stream + 1)) % WHOLE


def signed(key: int) -> int:
    return key - WHOLE if key >= WHOLE // 2 else key


ENDS = {"lowest": 0, "highest": 2**64 - 1}


@pytest.fixture(params=ENDS)
def keys(request) -> torch.Tensor:
    """A key whose first number is the lowest, or the highest, that there is."""
    key = torch.tensor([signed(key_before(ENDS[request.param], 0))])
    assert float(uniform(key)) == {"lowest": 0.0, "highest": 1 - 2.0**-24}[request.param]
    return key


def before(keys: torch.Tensor, stream: int) -> torch.Tensor:
    """The key whose stream is this one."""
    return torch.tensor([signed(key_before(int(keys) % WHOLE, stream))])


def test_noise_is_finite(keys):
    assert 0 < float(open_uniform(keys)) < 1
    for noise in (gumbel(keys, (1,)), normal(keys, (1,)), truncated_normal(keys, 1, 9.0)):
        assert torch.isfinite(noise).all()
    space = Space("continuous", (1,))
    sizes = {"latent": 0, "hidden_size": 2, "channels": (2,), "blocks": 0, "patch": 1, "variance": None}
    laplace = ValueDecoder(space, 2, **sizes, likelihood="laplace")
    assert 0 < float(laplace._noise(keys).abs()) < 20


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"top_p": 0.9}, {"temperature": 0.1}])
def test_a_forbidden_id_is_never_drawn(keys, options):
    """Of text the padding, id 0, is forbidden; infinite noise would choose it all the same."""
    logits = forbid(torch.zeros(1, 300), forbidden_ids(Space("discrete", (4,), vocab=300, varies=0)))
    chosen = DecodingOptions(**options).choose(logits, before(keys, 0), 0)
    assert int(chosen) not in (0, 2)


def test_what_weighs_nothing_is_never_chosen(keys):
    weights = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]])
    assert int(choose(weights, keys)) == (1 if float(uniform(keys)) == 0 else 3)
    assert int(choose(weights[0], keys)) == int(choose(weights, keys))


def test_a_length_that_cannot_be_is_never_drawn(keys):
    lengths = Lengths(2, 3)
    with torch.no_grad():
        lengths.logits.weight.zero_()
        lengths.logits.bias.copy_(torch.tensor([-math.inf, 0.0, -math.inf]))
    assert lengths.draw(torch.zeros(1, 2), keys).tolist() == [[True, True, False]]


def test_an_empty_part_of_a_mixture_is_never_drawn(keys):
    mixture = Mixture(2, 3)
    mixture.weights.copy_(torch.tensor([0.0, 1.0, 0.0]))
    mixture.means.copy_(torch.tensor([[-9.0, -9], [1, 2], [9, 9]]))
    assert mixture.draw(before(keys, 1), torch.zeros(1, 2)).tolist() == [[1, 2]]


def test_choices_are_as_frequent_as_they_weigh():
    keys = fold(make_keys(0, 20_000), 5)
    share = choose(torch.tensor([3.0, 1.0, 0.0, 4.0]), keys).bincount(minlength=4) / len(keys)
    torch.testing.assert_close(share, torch.tensor([0.375, 0.125, 0, 0.5]), atol=0.015, rtol=0)
