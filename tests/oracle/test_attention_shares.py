"""Where a head looks: known where its weights are, and laid over values without loss."""

import copy

import pytest
import torch

import polymodal as pm
from polymodal.evaluation.explanation import explain
from polymodal.evaluation.explanation.attention import attention_shares, spread
from polymodal.generation import generate_rows, read
from polymodal.nn.attention import Attention
from polymodal.nn.random import make_keys
from polymodal.types import Field, Space


@pytest.fixture(scope="module")
def generator(aligned):
    return pm.open(aligned)


@pytest.fixture(scope="module")
def batch(generator, world):
    raws = {"name": "green disc", "tone": world / "1.wav", "picture": world / "1.png"}
    return {name: read(name, generator.model.modalities[name], raw) for name, raw in raws.items()}


def made(model, batch, to):
    one = torch.ones(1, dtype=torch.bool)
    return generate_rows(model, batch, dict.fromkeys(batch, one), {to: one}, make_keys(0, 1))[to]


@pytest.mark.parametrize("to", ["colour", "picture", "place"])
def test_shares_are_of_the_tokens_and_sum_to_one_with_the_rest(generator, batch, to):
    model = generator.model
    given = {name: field for name, field in batch.items() if name != to}
    shares = attention_shares(model, given, made(model, given, to), to, draws=2)
    assert set(shares) == set(given)
    for name, own in shares.items():
        assert own.shape == (int(model.encoders[name](given[name]).mask.sum()),)
        assert own.min() > 0
    assert 0.1 < sum(float(own.sum()) for own in shares.values()) < 1


def test_a_head_that_compares_nothing_looks_everywhere_alike(generator, batch):
    model = copy.deepcopy(generator.model)
    for layer in model.heads["colour"].modules():
        if isinstance(layer, Attention) and layer.crosses:
            torch.nn.init.zeros_(layer.query.weight)
    shares = attention_shares(model, batch, made(model, batch, "colour"), "colour", draws=1)
    count = 1 + sum(map(len, shares.values()))
    for own in shares.values():
        torch.testing.assert_close(own, torch.full_like(own, 1 / count))


def test_who_keeps_no_tokens_of_fields_has_no_shares(generator, batch):
    model = copy.copy(generator.model)
    assert explain(model, {"name": "green disc"}, "colour", draws=1, steps=1).attention
    model.fusion = copy.copy(model.fusion)
    model.fusion.keeps = None
    assert attention_shares(model, batch, made(generator.model, batch, "colour"), "colour") == {}


def field(*shape: int) -> Field:
    return Field.full(torch.zeros(1, *shape))


def test_shares_lie_where_their_tokens_do():
    shares = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) / 42
    picture = spread(shares, field(3, 8, 12), Space("continuous", (3, 8, 12)))  # 2 x 3 cells of 4 x 4
    assert picture.shape == (3, 8, 12)
    assert picture.sum().item() == pytest.approx(0.5)
    assert picture[:, 4:, 8:].sum().item() == pytest.approx(6 / 42)
    assert picture[:, :4, 4:8].sum().item() == pytest.approx(2 / 42)
    sound = spread(shares[:2], field(5, 8), Space("continuous", (5, 20), varies=1))
    assert sound.shape == (5, 8)
    assert sound[:, 4:].sum().item() == pytest.approx(2 / 42)
    short = spread(shares[:2], field(5, 5), Space("continuous", (5, 20), varies=1))  # tokens of 4 frames
    assert short.sum(0).tolist() == pytest.approx([1 / 4 / 42] * 4 + [2 / 42])
    thirds = spread(shares, field(1, 18), Space("continuous", (1, 20), varies=1))
    assert thirds[0, 3:6].tolist() == pytest.approx([2 / 3 / 42] * 3)
    ids = spread(shares[:2], field(3), Space("discrete", (3,), vocab=9, varies=0))
    assert ids.tolist() == pytest.approx([1 / 42, 2 / 42, 0])
    assert spread(shares[:5], field(3, 8, 12), Space("continuous", (3, 8, 12))) is None
    assert spread(shares, field(7), Space("continuous", (7,))) is None
