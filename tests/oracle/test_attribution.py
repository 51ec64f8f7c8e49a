"""Shapley's axioms on games whose values are known, and completeness of integrated gradients on a real model."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.evaluation.explanation import explain
from polymodal.evaluation.explanation.attribution import distances, integrated_gradients
from polymodal.evaluation.explanation.shapley import coalitions, shapley_values
from polymodal.evaluation.kinds import find_kind
from polymodal.generation import read
from polymodal.types import Field, Space

PLAYERS = ("a", "b", "c", "d")


def game(worth):
    return {chosen: float(worth(chosen)) for chosen in coalitions(PLAYERS)}


def by_orders(worth):
    """What each adds when it joins, averaged over all orders."""
    orders = list(permutations(PLAYERS))
    shares = dict.fromkeys(PLAYERS, 0.0)
    for order in orders:
        for place, player in enumerate(order):
            shares[player] += worth[frozenset(order[: place + 1])] - worth[frozenset(order[:place])]
    return {player: share / len(orders) for player, share in shares.items()}


def test_values_are_the_mean_over_all_orders_and_sum_to_the_whole():
    random = np.random.default_rng(0)
    worth = game(lambda chosen: random.normal())
    values = shapley_values(worth)
    assert values == pytest.approx(by_orders(worth))
    assert sum(values.values()) == pytest.approx(worth[frozenset(PLAYERS)] - worth[frozenset()])


def test_who_adds_nothing_gets_nothing_and_equals_get_the_same():
    values = shapley_values(game(lambda chosen: 6 * ({"a", "b"} <= chosen) + 2 * ("c" in chosen) - 1))
    assert values == pytest.approx({"a": 3, "b": 3, "c": 2, "d": 0})


def test_values_of_a_sum_of_games_are_the_sums():
    one, other = game(lambda chosen: len(chosen) ** 2), game(lambda chosen: "a" in chosen or "d" in chosen)
    both = {chosen: one[chosen] + other[chosen] for chosen in one}
    first, second = shapley_values(one), shapley_values(other)
    assert shapley_values(both) == pytest.approx({player: first[player] + second[player] for player in PLAYERS})
    assert shapley_values({frozenset(): 1.0, frozenset("a"): 3.5}) == {"a": 2.5}


@pytest.fixture(scope="module")
def generator(aligned):
    return pm.open(aligned)


@pytest.fixture(scope="module")
def raws(world):
    return {"picture": world / "1.png", "name": "green disc", "tone": world / "1.wav", "place": np.array([6.0, 9.0])}


@pytest.mark.parametrize("to", ["colour", "picture", "place"])
def test_gradients_are_complete(generator, raws, to):
    model = generator.model
    batch = {name: read(name, model.modalities[name], raw) for name, raw in raws.items() if name != to}
    made = explain(model, {"name": "green disc"}, to, draws=1, steps=1)
    target = read(to, model.modalities[to], made.made if to != "place" else np.asarray(made.made))
    parts, gain = integrated_gradients(model, batch, target, to, draws=2, steps=1000)  # norms are steep near nothing
    moved = sum(float(part.abs().sum()) for part in parts.values())  # much of which cancels
    assert sum(float(part.sum()) for part in parts.values()) == pytest.approx(gain, abs=1e-4 * moved)
    for name, field in batch.items():
        assert parts[name].shape == field.value[0].shape
        assert parts[name].abs().sum() > 0
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_worth_of_all_is_the_likelihood_of_what_they_made(generator, raws):
    given = {"name": "green disc", "picture": raws["picture"]}
    told = explain(generator.model, given, "colour", seed=3, steps=2)
    assert told.made == generator.generate(given, "colour", seed=3)["colour"][0]
    assert told.unit == "log-likelihood, nats"
    assert set(told.worth) == {frozenset(), frozenset(["name"]), frozenset(["picture"]), frozenset(["name", "picture"])}
    assert all(worth < 0 for worth in told.worth.values())
    near = explain(generator.model, given, "place", steps=2)
    assert near.unit == "nearness"
    assert near.worth[frozenset(given)] == pytest.approx(0, abs=1e-6)
    assert min(near.worth.values()) < 0
    assert sum(near.shapley.values()) == pytest.approx(near.worth[frozenset(given)] - near.worth[frozenset()])


def test_distances_are_of_what_is_real():
    space = Space("continuous", (2, 4), varies=1)

    def field(values, length):
        mask = torch.arange(len(values)) < length
        return Field(
            torch.tensor([values, values]).float()[None] * mask, mask[None], torch.ones(1, dtype=torch.bool), 1
        )

    one, other = field([1, 2, 9], 2), field([1, 4, 2, 7], 3)
    assert distances(one, other, space).tolist() == pytest.approx([math.sqrt((0 + 4 + 4) / 3)])
    ids = [Field.full(torch.tensor([v]), varies=0) for v in ([3, 4, 1], [3, 5, 1])]
    assert distances(*ids, Space("discrete", (3,), vocab=9, varies=0)).tolist() == pytest.approx([1 / 3])


def test_pieces_are_whole_characters(generator):
    name, colour = (generator.fields[name] for name in ("name", "colour"))
    assert find_kind(name).pieces(read("name", name, "é x")) == [("é", [0, 1]), (" ", [2]), ("x", [3]), ("", [4])]
    assert find_kind(colour).pieces(read("colour", colour, "red")) == [("red", [0])]
