"""Pieces of the loop: the schedule, the average, the optimizer's groups."""

import itertools
import time
from types import SimpleNamespace

import pytest
import torch

from polymodal.config import TrainConfig
from polymodal.training.engines.data_parallel import DataParallel
from polymodal.training.loop import Clock, _validations, make_optimizer, schedule


def test_schedule_climbs_then_falls_to_nothing():
    assert schedule(0.0, 0.1) == pytest.approx(1e-3)
    assert schedule(0.05, 0.1) == pytest.approx(0.5)
    assert schedule(0.1, 0.1) == pytest.approx(1.0)
    assert schedule(0.55, 0.1) == pytest.approx(0.5)
    assert schedule(1.0, 0.1) == pytest.approx(0.0)
    assert schedule(1.2, 0.0) == pytest.approx(0.0)


def test_schedule_may_end_above_nothing():
    assert schedule(0.05, 0.1, 0.4) == pytest.approx(0.5)
    assert schedule(0.55, 0.1, 0.4) == pytest.approx(0.7)
    assert schedule(1.0, 0.1, 0.4) == pytest.approx(0.4)
    assert schedule(0.7, 0.1, 1.0) == pytest.approx(1.0)


def test_the_rate_may_stay_and_fall_in_a_line_at_the_end():
    assert schedule(0.05, 0.1, decay=0.5) == pytest.approx(0.5)
    assert schedule(0.1, 0.1, decay=0.5) == pytest.approx(1.0)
    assert schedule(0.5, 0.1, decay=0.5) == pytest.approx(1.0)
    assert schedule(0.75, 0.1, decay=0.5) == pytest.approx(0.5)
    assert schedule(0.75, 0.1, 0.4, decay=0.5) == pytest.approx(0.7)
    assert schedule(1.2, 0.0, decay=0.5) == pytest.approx(0.0)


def test_the_processor_has_spent_no_time_where_a_process_waits(monkeypatch):
    engine, now = DataParallel("no"), {"monotonic": 100.0, "process_time": 7.0}
    for name in now:
        monkeypatch.setattr(time, name, lambda name=name: now[name])
    wall, processor = (Clock(engine, 1 / 60, None, seconds=0.25, kind=kind) for kind in ("wall", "processor"))
    now["monotonic"] += 0.5
    for clock in (wall, processor):
        clock.tick(1)
    assert (wall.progress, processor.progress) == (0.75, 0.25)
    now["process_time"] += 0.75
    processor.tick(2)
    assert processor.done
    assert (processor.seconds, wall.seconds) == (1.0, 0.75)


def test_many_processes_follow_the_first_ones_clock_and_agree_now_and_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(SimpleNamespace(world_size=2, broadcast=lambda seconds: seconds + 6), 1.0, None)
    assert clock.progress == 0.1
    now[0] = 30.0
    for step in range(1, Clock.EVERY):
        clock.tick(step)
        assert clock.progress == 0.1
    clock.tick(Clock.EVERY)
    assert (clock.progress, clock.agreed, clock.seconds) == (0.6, 36.0, 30.0)


def budgeted(seconds: float, monkeypatch, **more) -> tuple[Clock, dict[str, float]]:
    """A clock of a time budget, and the time that it reads."""
    now = {"monotonic": 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["monotonic"])
    return Clock(DataParallel("no"), seconds / 60, None, **more), now


def test_validations_take_a_twentieth_of_a_time_budget(monkeypatch):
    clock, now = budgeted(1000.0, monkeypatch)
    assert clock.may_validate
    assert clock.validation_seconds == pytest.approx(25)  # as much is left for the one at the end
    taken = 0
    for second in range(0, 1000, 100):
        now["monotonic"] = float(second)
        clock.tick(1)
        if clock.may_validate:
            clock.validated(8.0)
            taken += 1
    assert taken == 5  # and the sixth, at the end, also fits in 50 seconds
    assert not clock.may_validate
    now["monotonic"] = 992.1
    clock.tick(2)
    assert clock.done  # so that the last one ends on time
    assert clock.may_validate
    assert clock.validation_seconds == pytest.approx(10)


def test_a_slow_first_validation_leaves_room_for_the_last_only(monkeypatch):
    clock, now = budgeted(1000.0, monkeypatch)
    clock.validated(25.0)
    assert not clock.may_validate
    now["monotonic"] = 975.1
    clock.tick(1)
    assert clock.done
    assert clock.may_validate


def test_what_was_spent_before_the_model_is_not_spent_again(monkeypatch):
    clock, now = budgeted(1000.0, monkeypatch, late=100.0)
    now["monotonic"] = 450.0
    clock.tick(1)
    assert clock.progress == pytest.approx(0.5)
    assert budgeted(1000.0, monkeypatch, late=5000.0)[0].budget == pytest.approx(500.0)


def test_a_step_budget_validates_whenever_it_is_due():
    clock = Clock(DataParallel("no"), None, 100)
    clock.validated(1e9)
    assert clock.may_validate
    assert clock.validation_seconds == float("inf")


def test_only_matrices_decay():
    class Trainee(torch.nn.Linear):
        players = ("model",)

        def parameters_of(self, player):
            return self.parameters()

    groups = make_optimizer(Trainee(3, 2), "model", 1e-3, TrainConfig(weight_decay=0.1)).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.1), (1, 0.0)]


def test_parameters_with_an_owner_have_groups_that_say_so():
    class Trainee(torch.nn.Sequential):
        players = ("model",)

        def parameters_of(self, player):
            return self.parameters()

    trainee = Trainee(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
    owners = {"0.weight": "speech", "0.bias": "speech"}
    groups = make_optimizer(trainee, "model", 1e-3, TrainConfig(), owners).param_groups
    assert [(group["owner"], group["params"][0].ndim) for group in groups] == [
        ("", 2), ("speech", 2), ("", 1), ("speech", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("steps", "every"), [(100, 0.1), (600, 0.05), (50, 0.2), (7, 0.3)])
def test_a_resumed_run_validates_when_the_other_one_does(steps, every):
    config, clock = TrainConfig(validate_every=every), SimpleNamespace(progress=0.0)
    due = []
    for step in range(steps + 1):
        clock.progress = step / steps
        due.append(_validations(clock, config))
    assert [due[step + 1] - due[step] for step in range(steps)].count(1) == due[-1] == int(1 / every + 1e-9)
    assert all(later - sooner in (0, 1) for sooner, later in itertools.pairwise(due))
