"""Learning rates that follow progress: when a field is slowed down, and when sped up again."""

import json

from polymodal.balancing import Seen
from polymodal.training.rates import PATIENCE, PERIOD, SLOWER, SLOWEST, Rates


def periods(rates, losses, start=0):
    """One period for each pair of losses of ``a`` and ``b``."""
    for number, (a, b) in enumerate(losses, start):
        for look in range(PERIOD):
            rates.update(Seen(16 * (PERIOD * number + look + 1), {"a.nll": a, "b.nll": b}))


def test_a_field_that_stalls_is_slowed_down_and_one_that_falls_again_sped_up():
    rates = Rates(["a", "b"])
    falling = [1.0 * 0.9**k for k in range(PATIENCE + 1)]
    periods(rates, [(2.0, b) for b in falling])
    assert rates.factors == {"a": SLOWER, "b": 1.0}
    assert rates.decisions() == ["a: learning rate x 1.00 -> 0.70: its loss stays at 2, the best was 2"]
    assert rates.decisions() == []
    periods(rates, [(1.5, 0.5)])
    assert rates.factors == {"a": 1.0, "b": 1.0}
    assert rates.decisions() == ["a: learning rate x 0.70 -> 1.00: its loss falls again, to 1.5"]


def test_a_field_that_overfits_is_slowed_down():
    rates = Rates(["a", "b"])
    periods(rates, [(2.0, 1.0)])
    rates.validated({"a.nll": 2.0, "b.nll": 1.2, "context.kl": 3.0})
    periods(rates, [(1.0, 0.9)], start=1)
    rates.validated({"a.nll": 3.0, "b.nll": 1.1})
    assert rates.factors == {"a": SLOWER, "b": 1.0}
    (line,) = rates.decisions()
    assert line.startswith("a: learning rate x 1.00 -> 0.70: it overfits: 3 on held-out rows, 2 before")


def test_no_field_stops():
    rates = Rates(["a", "b"])
    periods(rates, [(2.0, 1.0)] * 40)
    assert rates.factors == {"a": SLOWEST, "b": SLOWEST}


def test_the_state_is_json_and_all_that_it_knows():
    whole, resumed = Rates(["a", "b"]), Rates(["a", "b"])
    periods(whole, [(2.0, 1.0)] * 3)
    resumed.state = json.loads(json.dumps(whole.state))
    for rates in (whole, resumed):
        periods(rates, [(2.0, 0.9), (1.0, 0.9)], start=3)
        rates.validated({"a.nll": 1.0, "b.nll": 1.0})
    assert resumed.state == whole.state
