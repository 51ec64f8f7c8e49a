"""Rows of a step, and their tasks_per_row."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import polymodal as pm
from polymodal.training.step_loader import StepLoader
from polymodal.training.target_sampling import Pairs
from polymodal.types import Task


@pytest.fixture(scope="module")
def rows(trained):
    return pm.open(trained).data().train


def draw(present, keys):
    seen = {name: mask & (keys % 2 == 0) for name, mask in present.items()}
    return Task(seen, {name: mask & ~seen[name] for name, mask in present.items()})


def test_the_first_view_is_what_there_would_be_without_others(rows):
    [one] = StepLoader(rows, draw, batch_size=6, seed=3).micro_batches(2)
    [three] = StepLoader(rows, draw, batch_size=6, seed=3, tasks_per_row=3).micro_batches(2)
    assert (one.here, three.here, three.tasks_per_row) == (6, 6, 3)
    assert torch.equal(three.keys[:6], one.keys)
    assert len(set(three.keys.tolist())) == 18
    for name, field in one.batch.items():
        assert torch.equal(three.batch[name].value, field.value)
        assert torch.equal(three.task.visible[name][:6], one.task.visible[name])
        assert three.counts[name] == int(three.task.target[name].sum())


def test_processes_divide_rows_with_all_their_views(rows):
    [whole] = StepLoader(rows, draw, batch_size=6, tasks_per_row=2).micro_batches(0)
    options = {"batch_size": 6, "tasks_per_row": 2, "processes": 2}
    [left], [right] = (StepLoader(rows, draw, process=rank, **options).micro_batches(0) for rank in (0, 1))
    assert left.counts == right.counts == whole.counts
    for view in range(2):
        together = torch.cat([part.keys.view(2, 3)[view] for part in (left, right)])
        assert torch.equal(together, whole.keys.view(2, 6)[view])


def test_the_next_step_is_fetched_on_one_core_and_all_others_are_left_to_everybody_else(rows, monkeypatch):
    before, fetching = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        loader = StepLoader(rows, draw, batch_size=6)
        monkeypatch.setattr(loader, "micro_batches", lambda step: fetching.append(torch.get_num_threads()) or [])
        stream = loader.stream(0)
        next(stream)
        with ThreadPoolExecutor(1) as another:
            assert another.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
        stream.close()
        assert set(fetching) == {1}
    finally:
        torch.set_num_threads(before)


def test_rows_drawn_by_weight_are_in_every_place_and_meet_all_others(tmp_path):
    """A place of the batch belongs to one process, and rows that never meet are never each other's negatives."""
    table = [{"a": [k], "b": [k] if k % 3 else None, "split": "train"} for k in range(16)]
    data = pm.load(table, {"a": {"modality": "vector", "size": 1}, "b": {"modality": "vector", "size": 1}},
                   validation=0, test=0, cache=tmp_path)  # fmt: skip
    n = len(data.train)
    sampling = Pairs({"a": 1.0, "b": float(data.train.present["b"].mean())})
    loader = StepLoader(data.train, draw, batch_size=4, seed=1, sampling=sampling)
    steps = torch.stack([loader.indices(step) for step in range(2000)])
    for place in range(4):
        assert len(steps[:, place].unique()) == n
    met = torch.zeros(n, n)
    for one in range(4):
        for other in range(4):
            met.index_put_((steps[:, one], steps[:, other]), torch.ones(len(steps)), accumulate=True)
    assert met.min() > 0
    share = steps.flatten().bincount(minlength=n).double() / steps.numel()
    weight = sampling.weights(loader.present, sampling.odds(0))
    torch.testing.assert_close(share, weight / weight.sum(), rtol=0.15, atol=0)
    again = StepLoader(data.train, draw, batch_size=4, seed=1, sampling=sampling)
    assert torch.equal(again.indices(1234), steps[1234]), "a run that is resumed draws the same rows"
