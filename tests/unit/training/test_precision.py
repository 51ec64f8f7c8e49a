"""Which precision a run is trained in: what its recipe asks for, on the machine that it is on."""

import pytest
import torch

import polymodal as pm
from polymodal.training.precision import precision as chosen


@pytest.mark.parametrize(
    ("wanted", "gpu", "tiles", "got"),
    [
        ("no", True, True, "no"),
        ("bf16", False, False, "bf16"),
        ("auto", True, False, "bf16"),
        ("auto", False, True, "no"),
        ("fast", True, False, "bf16"),
        ("fast", False, True, "bf16"),
        ("fast", False, False, "no"),
    ],
)
def test_the_precision_is_that_of_the_machine(monkeypatch, wanted, gpu, tiles, got):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": tiles})
    assert chosen(wanted) == got


def test_a_gpu_without_bf16_has_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert chosen("fast") == chosen("auto") == "no"


def test_runs_of_one_process_may_differ_in_precision(world, tmp_path):
    """A label from a vector: the smallest run there is."""
    recipe = {"width": 16, "fields": {"place": {"modality": "vector", "size": 2}, "colour": {"modality": "label"}}}
    for precision in ("no", "bf16", "no"):
        settings = {"train.precision": precision, "train.steps": 1}
        model = pm.fit(recipe, world / "rows.jsonl", run=tmp_path / precision, set=settings)
        assert model.model.recipe.train.precision == precision
