"""Odds of targets: what they promise of counts, steps and state."""

import json

import pytest
import torch

from polymodal.balancing import Seen
from polymodal.nn.random import make_keys
from polymodal.training.target_sampling import LEAST, SINGLE, TEMPER, Pairs, Progress, Scarcity, row_weights, thinned
from polymodal.types import Task

N = 20_000


def presence():
    """Every row has a picture, one in ten speech, of which half have a name too."""
    number = torch.arange(N)
    return {"picture": number >= 0, "speech": number % 10 == 0, "name": number % 20 == 0}


def test_targets_come_in_proportion_to_odds_and_rows():
    present, odds = presence(), {"picture": 0.2, "speech": 0.6, "name": 1.0}
    weights = row_weights(present, odds)
    index = torch.multinomial(weights, 200_000, replacement=True, generator=torch.Generator().manual_seed(0))
    target = {name: there[index] for name, there in present.items()}
    task = thinned(Task({}, target), odds, make_keys(0, len(index)))
    counts = torch.tensor([float(task.target[name].sum()) for name in odds])
    expected = torch.tensor([odds[name] * float(present[name].sum()) for name in odds])
    torch.testing.assert_close(counts / counts.sum(), expected / expected.sum(), rtol=0.03, atol=0)
    assert torch.stack(list(task.target.values())).any(0).all()


def test_even_odds_change_nothing():
    present = presence()
    odds = dict.fromkeys(present, 1.0)
    assert torch.equal(row_weights(present, odds), torch.ones(N, dtype=torch.float64))
    task = thinned(Task({}, present), odds, make_keys(0, N))
    assert all(torch.equal(task.target[name], there) for name, there in present.items())


def test_rows_in_which_fields_meet_are_drawn_by_their_pairs():
    present = {"a": torch.tensor([1, 1, 1, 0]).bool(), "b": torch.tensor([1, 1, 0, 0]).bool(),
               "c": torch.tensor([1, 0, 0, 0]).bool()}  # fmt: skip
    present["a.latent"] = present["a"]
    sampling = Pairs({"a": 0.75, "b": 0.5, "c": 0.25})
    assert sampling.weights(present, sampling.odds(0)).tolist() == [3.0, 1.0, SINGLE, 0.0]
    assert set(sampling.odds(0).values()) == {1.0}, "a row's targets stay as they are"


def test_what_few_rows_have_is_drawn_more_often():
    odds = Scarcity({"picture": 1.0, "speech": 0.1, "nothing": 0.0}).odds(0)
    assert odds["speech"] == 1.0
    assert odds["picture"] == pytest.approx(0.1 ** (1 - TEMPER))


def test_what_moves_is_drawn_more_often_than_what_rests():
    sampling = Progress(dict.fromkeys("abc", 1.0))
    assert sampling.odds(0) == dict.fromkeys("abc", 1.0)
    for look in range(1, 30):
        sampling.update(Seen(16 * look, {"a.nll": 3 * 0.9**look, "b.nll": 5.0}))
    odds = sampling.odds(16 * 29 + 1)
    assert odds["a"] == 1.0
    assert odds["b"] == LEAST
    assert odds["c"] == 1.0, "nothing is known of it yet"


def test_odds_hold_from_the_second_step_after_a_look():
    """The rows of the next step are being fetched already."""
    sampling = Progress(dict.fromkeys("ab", 1.0))
    for look, b in ((1, 5.0), (2, 5.0), (3, 1.0)):
        sampling.update(Seen(16 * look, {"a.nll": 3.0 / look, "b.nll": b}))
    again = Progress(dict.fromkeys("ab", 1.0))
    again.state = json.loads(json.dumps(sampling.state))
    before, after = sampling.odds(48), sampling.odds(49)
    assert before != after
    assert again.odds(48) == before
    assert again.odds(49) == after


@pytest.mark.parametrize("loss", [0.1, 1 / 3, 2.7182818, 123.456])
def test_a_first_look_finds_no_gain(loss):
    sampling = Progress(dict.fromkeys("ab", 1.0))
    sampling.update(Seen(10, {"a.nll": loss, "b.nll": 7 * loss}))
    assert sampling.state["odds"] == {"a": 1.0, "b": 1.0}
