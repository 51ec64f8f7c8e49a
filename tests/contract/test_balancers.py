"""What every balancer promises: positive weights of mean 1, decided by what was seen alone, kept as JSON."""

import json
from dataclasses import replace

import pytest

from polymodal.balancing import BALANCERS, Seen
from polymodal.balancing.base import LARGEST
from polymodal.errors import ConfigError
from polymodal.parts import build_part
from refusals import refused

FIELDS = ("picture", "name", "speech")
LEARN = sorted(kind for kind, part in BALANCERS.items() if part.watches)
BY_TERM = ("dwa", "uncertainty")


def balancer(kind, **options):
    return build_part("balancer", {"kind": kind, **options}, "train.balance", list(FIELDS))


def looks(count, scale=1.0):
    """Losses of three fields that fall at different speeds, and gradients as their scales would have them."""
    for k in range(count):
        losses = {
            "picture.nll": 40 * scale * 0.9**k,
            "picture.kl": 4.0 * scale,
            "name.nll": 2 * 0.99**k,
            "speech.flow": 0.3,
        }
        yield Seen(16 * (k + 1), losses, {"picture": 4.0 * scale, "name": 2.0, "speech": 0.5})


@pytest.mark.parametrize("kind", LEARN)
def test_weights_are_positive_bounded_and_of_mean_one(kind):
    own = balancer(kind)
    for seen in looks(20):
        own.update(seen)
    assert set(own.weights) == set(FIELDS)
    assert sum(own.weights.values()) / 3 == pytest.approx(1.0, rel=0.05)
    assert all(1 / LARGEST <= weight <= LARGEST for weight in own.weights.values())
    assert len({round(weight, 3) for weight in own.weights.values()}) > 1
    assert own.weight("name", "nll") == own.weights["name"]


@pytest.mark.parametrize("kind", LEARN)
def test_the_state_is_json_and_all_that_it_knows(kind):
    whole, resumed = balancer(kind), balancer(kind)
    for number, seen in enumerate(looks(12)):
        whole.update(seen)
        if number == 6:
            resumed.state = json.loads(json.dumps(whole.state))
        elif number > 6:
            resumed.update(seen)
    assert resumed.state == whole.state


@pytest.mark.parametrize("kind", LEARN)
def test_a_field_that_was_not_seen_keeps_its_place(kind):
    own = balancer(kind)
    for seen in looks(8):
        own.update(seen)
    before = dict(own.weights)
    own.update(Seen(200, {}, {}))
    assert own.weights == pytest.approx(before)
    own.update(Seen(216, {"name.nll": 0.0}, {"name": 0.0}))  # nothing left to learn
    assert all(weight > 0 for weight in own.weights.values())


@pytest.mark.parametrize("kind", [kind for kind in LEARN if kind != "dwa"])
def test_the_scale_of_a_loss_cancels_out(kind):
    plain, loud = balancer(kind), balancer(kind)
    for small, large in zip(looks(30), looks(30, scale=10.0), strict=True):
        plain.update(small)
        loud.update(large)
    ratio = (loud.weights["picture"] / loud.weights["name"]) / (plain.weights["picture"] / plain.weights["name"])
    assert ratio == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("kind", BY_TERM)
def test_terms_may_have_weights_of_their_own(kind):
    own = balancer(kind, over="terms")
    for seen in looks(20):
        own.update(seen)
    assert set(own.weights) == {"picture.nll", "picture.kl", "name.nll", "speech.flow"}
    assert own.weight("picture", "nll") != own.weight("picture", "kl")
    assert own.weight("picture", "adversarial") == 1.0


def test_fixed_weighs_nothing():
    own = balancer("fixed")
    assert own.weight("picture", "nll") == 1.0
    assert not own.watches


def test_a_wrong_balance_is_one_line():
    with pytest.raises(ConfigError, match=r"^train\.balance\.kind: 'gradnor' is unknown; did you mean 'gradnorm'"):
        balancer("gradnor")
    with pytest.raises(ConfigError, match=r"^train\.balance\.shares: field: 'speach' is unknown; did you mean 'spee"):
        balancer("gradient-share", shares={"speach": 2})
    with refused("train.balance.shares.speech", "not 0", "greater than 0", by=ConfigError):
        balancer("gradient-share", shares={"speech": 0})


def below_zero(count):
    """The density of a likelihood whose variance is learned falls through 0, twice as fast as a squared error falls."""
    for k in range(count):
        losses = {"picture.nll": 1.4 - 0.1 * k, "name.nll": 2 * 0.98**k, "speech.flow": 0.98**k}
        yield Seen(16 * (k + 1), losses, {"picture": 1.0, "name": 1.0, "speech": 1.0})


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("kind", LEARN)
def test_a_loss_below_zero_does_not_drown_the_others(kind, known):
    """Whether a head says that its loss may be negative, or it turns out to be."""
    own = balancer(kind)
    for seen in below_zero(60):
        own.update(replace(seen, signed=["picture.nll"] if known else []))
        assert min(own.weights.values(), default=1.0) > 0.02, seen.step
    assert max(own.weights.values()) / min(own.weights.values()) < 10


@pytest.mark.parametrize("kind", LEARN)
def test_no_weight_jumps_where_a_loss_crosses_zero(kind):
    own, before = balancer(kind), {}
    for seen in below_zero(60):
        own.update(replace(seen, signed=["picture.nll"]))
        for name, weight in before.items():
            assert 0.5 < own.weights[name] / weight < 2, (seen.step, name)
        before = dict(own.weights)
