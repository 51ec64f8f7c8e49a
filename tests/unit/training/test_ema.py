"""Averaged weights: what each step weighs in them, and averages of other lengths from those that are kept."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from polymodal.training import ema
from polymodal.training.ema import (
    CANDIDATES,
    STORED,
    Average,
    combine,
    curve,
    drop_snapshots,
    exponent,
    last_average,
    snapshots,
)


def walk(steps: int, lengths=STORED, folder=None, every: int = 0) -> tuple[Average, list[torch.Tensor]]:
    """A parameter that is at random places, its averages, and where it was; snapshots now and then."""
    torch.manual_seed(0)
    parameter, path = nn.Parameter(torch.zeros(5)), []
    average = Average({"p": parameter}, lengths)
    for step in range(steps):
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn(5))
        path.append(parameter.detach().clone())
        average.update(step)
        if every and (step + 1) % every == 0 and step + 1 < steps:
            average.snapshot(folder, step + 1)
    return average, path


@pytest.mark.parametrize(("length", "expected"), [(0.05, 16.97), (0.10, 6.94)])
def test_exponents_are_those_of_the_paper(length, expected):
    assert exponent(length) == pytest.approx(expected, abs=0.01)
    time = (np.arange(200_000) + 0.5) / 200_000  # the deviation of the curve is the length, as a share of the training
    weight = time ** exponent(length)
    mean = np.average(time, weights=weight)
    assert np.sqrt(np.average((time - mean) ** 2, weights=weight)) == pytest.approx(length, rel=1e-4)


@pytest.mark.parametrize("length", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("steps", [1, 7, 32, 41, 300])
def test_an_average_weighs_each_step_by_its_curve(length, steps):
    average, path = walk(steps, (length,))
    ends = np.array([k for k in range(1, steps + 1) if last_average(k) == k])
    weight = curve(length, steps, ends.astype(float))
    assert weight.sum() == pytest.approx(1.0)
    expected = sum(float(w) * path[end - 1] for w, end in zip(weight, ends, strict=True))
    torch.testing.assert_close(average.weights["p"], expected, rtol=1e-4, atol=1e-5)


def test_an_average_is_a_share_of_the_training_however_short_it_is():
    """A decay of 0.999 in place of it weighs the last 10 % of 300 steps and of 3,000 alike: by its warm-up."""
    lag = {}
    for steps in (300, 3000):
        parameter = nn.Parameter(torch.zeros(1))
        average = Average({"p": parameter}, STORED)
        for step in range(steps):
            with torch.no_grad():
                parameter += 1 / steps
            average.update(step)
        lag[steps] = [float(1 - part["p"]) for part in average.stored]
    for long, short in zip(lag[3000], lag[300], strict=True):
        assert long == pytest.approx(short, rel=0.15)
    expected = [1 - (exponent(length) + 1) / (exponent(length) + 2) for length in STORED]
    assert lag[3000] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("length", CANDIDATES)
def test_other_lengths_come_from_the_snapshots(length, tmp_path):
    """As the average that would have been taken all along, up to what 16 bits and eight snapshots leave out."""
    average, path = walk(400, folder=tmp_path, every=50)
    assert len(snapshots(tmp_path)) == 7
    made = average.of_lengths([length], tmp_path, 400)[0]["p"]
    exact, _ = walk(400, (length,))
    error = (made - exact.weights["p"]).norm()
    assert error < 0.1 * (path[-1] - exact.weights["p"]).norm()
    kept = [(own, at) for at in range(50, 401, 50) for own in STORED]
    factors = combine(kept, length, 400)
    assert factors.sum() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(factors).sum() < 3, "or errors of rounding would grow"


def test_each_snapshot_is_read_once(tmp_path, monkeypatch):
    average, _ = walk(400, folder=tmp_path, every=50)
    read = []
    monkeypatch.setattr(ema, "load_file", lambda path: read.append(path) or load_file(path))
    average.choose(CANDIDATES, tmp_path, 400, lambda: 1.0, lambda number: number)
    assert read == snapshots(tmp_path)


def test_the_choice_keeps_to_its_time(tmp_path):
    """Each judgement takes 2 seconds here: of 5, two of the stored lengths are judged, and nothing is put together."""
    average, _ = walk(400, folder=tmp_path, every=50)
    clock, losses = [0.0], iter([3.0, 2.0, 1.0])

    def judge() -> float:
        clock[0] += 2.0
        return next(losses)

    for seconds, judged in ((5.0, {0.1: 3.0, 0.05: 2.0}), (0.0, {0.1: 1.0})):
        length, found = average.choose(
            CANDIDATES, tmp_path, 400, judge, lambda number: number, seconds, lambda: clock[0]
        )
        assert found == judged
        assert length == min(judged, key=judged.__getitem__)
        assert torch.equal(average.weights["p"], average.stored[average.lengths.index(length)]["p"])


def test_the_length_of_the_least_loss_is_chosen_and_training_goes_on_from_what_is_stored(tmp_path):
    average, _ = walk(400, folder=tmp_path, every=50)
    stored = [{name: t.clone() for name, t in part.items()} for part in average.stored]
    exact = walk(400, (0.14,))[0].weights["p"]
    length, losses = average.choose(
        CANDIDATES, tmp_path, 400, lambda: float((average.weights["p"] - exact).square().sum()), lambda number: number
    )
    assert length == 0.14
    assert len(losses) == len(CANDIDATES)
    assert min(losses, key=losses.__getitem__) == 0.14
    assert (average.weights["p"] - exact).norm() < (stored[1]["p"] - exact).norm()
    for part, before in zip(average.stored, stored, strict=True):
        assert torch.equal(part["p"], before["p"])
    average.update(403)
    assert average.weights is average.stored[-1]


def test_a_run_that_is_resumed_averages_as_one_that_never_stopped(tmp_path):
    whole, path = walk(60)
    half, _ = walk(50)
    parameter = nn.Parameter(path[49].clone())
    resumed = Average({"p": parameter})
    resumed.restore({name: t.clone() for name, t in half.state().items()}, half.weights)
    for step in range(50, 60):
        with torch.no_grad():
            parameter.copy_(path[step])
        resumed.update(step)
    for mine, theirs in zip(resumed.stored, whole.stored, strict=True):
        assert torch.equal(mine["p"], theirs["p"])
    earlier = Average({"p": parameter})
    earlier.restore({}, half.weights)  # a checkpoint of an earlier version has one average
    assert all(torch.equal(part["p"], half.weights["p"]) for part in earlier.stored)


@pytest.mark.parametrize("written", ["by length", "by place"])
@pytest.mark.parametrize(("before", "after"), [((0.1,), STORED), (STORED, (0.1,)), (STORED, STORED)])
def test_lengths_keep_their_names_when_others_are_averaged_on(before, after, written, tmp_path):
    """With ``ema_length`` the same run may go on averaging other lengths than it has stored."""
    half, path = walk(200, before, folder=tmp_path, every=50)
    state = {name: t.clone() for name, t in half.state().items()}
    if written == "by place":  # as earlier versions
        places = {f"{length:g}:": f"{place}." for place, length in enumerate(before)}
        state = {places[name[: name.index(":") + 1]] + name[name.index(":") + 1 :]: t for name, t in state.items()}
    parameter = nn.Parameter(path[-1].clone())
    resumed = Average({"p": parameter}, after)
    resumed.restore(state, half.weights)
    assert torch.equal(resumed.stored[-1]["p"], half.stored[-1]["p"])
    if after == STORED:  # what was not averaged begins with the nearest that was
        assert torch.equal(resumed.stored[0]["p"], half.stored[0]["p"])
    torch.manual_seed(1)
    path = torch.cat([torch.stack(path), path[-1] + (0.1 * torch.randn(400, 5)).cumsum(0)])
    for step in range(200, 600):
        with torch.no_grad():
            parameter.copy_(path[step])
        resumed.update(step)
    exact = Average({"p": parameter}, (0.12,))
    for step in range(600):
        with torch.no_grad():
            parameter.copy_(path[step])
        exact.update(step)
    (made,) = resumed.of_lengths([0.12], tmp_path, 600)
    error = (made["p"] - exact.weights["p"]).norm()
    assert error < 0.35 * (path[-1] - exact.weights["p"]).norm()


def test_snapshots_of_steps_that_are_taken_again_are_dropped(tmp_path):
    walk(40, folder=tmp_path, every=10)
    drop_snapshots(tmp_path, 20)
    assert [path.stem for path in snapshots(tmp_path)] == ["step-00000010", "step-00000020"]


def test_weights_and_averages_change_places_and_back():
    average, path = walk(20)
    parameter, before = average.parameters["p"], average.weights["p"].clone()
    average.swap()
    assert torch.equal(parameter.detach(), before)
    average.swap()
    assert torch.equal(parameter.detach(), path[-1])
