"""Early stopping: the weights that were best on held-out rows are those of the run, where the end is worse."""

import pytest
import torch
from safetensors.torch import load_file

import polymodal as pm
from polymodal.training.best_weights import BestWeights


def offer(best, step, loss, value):
    best.offer(step, {"a.nll": loss, "b.flow": 0.5, "context.infonce": 100.0 / loss}, {"w": torch.full((2,), value)})


def test_the_best_are_restored_where_the_end_is_worse(tmp_path):
    best = BestWeights(tmp_path / "best.safetensors")
    for step, loss in ((10, 3.0), (20, 2.0), (30, 2.5)):
        offer(best, step, loss, float(step))
    assert best.best == (20, 2.5)
    again = BestWeights(tmp_path / "best.safetensors")  # after a kill
    weights = {"w": torch.zeros(2)}
    assert "step 20 are kept" in again.restore(weights, 3.0)
    assert weights["w"].tolist() == [20.0, 20.0]


def test_the_end_is_kept_where_it_is_as_good_but_for_chance(tmp_path):
    best = BestWeights(tmp_path / "best.safetensors")
    assert best.restore({}, 1.0) is None
    offer(best, 5, float("nan"), 5.0)
    assert best.best is None  # what is not finite is never the best
    offer(best, 10, 2.0, 10.0)
    offer(best, 20, 2.001, 20.0)
    weights = {"w": torch.zeros(2)}
    assert best.restore(weights, 2.501) is None
    assert weights["w"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "head", [{"kind": "mixture", "dropout": 0.0}, {"kind": "decoder"}], ids=lambda head: head["kind"]
)
def test_a_run_that_learns_by_heart_keeps_what_held_out_rows_say(head, tmp_path):
    """The variance that a decoder has learned, which is a buffer, goes with its weights."""
    random = torch.Generator().manual_seed(0)
    rows = [{"name": f"{i}", "number": float(torch.randn((), generator=random))} for i in range(40)]
    recipe = {
        "width": 32,
        "fields": {
            "name": {"modality": "text", "max_length": 4, "role": "input", "encoder": {"kind": "sequence", "depth": 1}},
            "number": {"modality": "vector", "size": 1, "role": "output", "head": head},
        },
        "fusion": {"kind": "concatenation"},
        "tasks": {"none": 0.0, "one": 1.0, "some": 0.0},
        "train": {"steps": 120, "batch_size": 32, "learning_rate": 1e-2, "keep_best": True},
    }
    data = pm.load(rows, {"name": pm.Text(4), "number": pm.Vector(1)}, cache=tmp_path, validation=0.4, test=0)
    run = pm.fit(recipe, data, run=tmp_path / "run")
    best = BestWeights(tmp_path / "run" / "best.safetensors").best
    assert best is not None
    assert best[0] < 120
    opened = pm.open(tmp_path / "run").model.state_dict()
    kept = load_file(tmp_path / "run" / "best.safetensors")
    assert kept.keys() == opened.keys()
    assert head["kind"] != "decoder" or "heads.number.ends.variance" in kept
    for name, weight in run.model.state_dict().items():
        torch.testing.assert_close(opened[name], weight, rtol=0, atol=0)
        torch.testing.assert_close(kept[name], weight, rtol=0, atol=0)


def test_a_file_of_an_earlier_version_has_no_buffers(tmp_path):
    best = BestWeights(tmp_path / "best.safetensors")
    offer(best, 10, 2.0, 10.0)
    weights = {"w": torch.zeros(2), "variance": torch.ones(1)}
    assert best.restore(weights, 9.0)
    assert weights["w"].tolist() == [10.0, 10.0]
    assert weights["variance"].tolist() == [1.0]
