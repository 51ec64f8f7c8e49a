"""Which precision a run is trained in: what its recipe asks for, on the machine that it is on."""

import pytest
import torch

import polymodal as pm
from polymodal.training.precision import precision as chosen


@pytest.mark.parametrize(
    ("wanted", "gpu", "units", "got"),
    [
        ("no", True, "amx_bf16", "no"),
        ("bf16", False, "", "bf16"),
        ("auto", True, "", "bf16"),
        ("auto", False, "amx_bf16", "no"),
        ("fast", True, "", "bf16"),
        ("fast", False, "amx_bf16", "bf16"),
        ("fast", False, "avx512_bf16", "bf16"),
        ("fast", False, "avx512_f", "no"),
    ],
)
def test_the_precision_is_that_of_the_machine(monkeypatch, wanted, gpu, units, got):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {units: True})
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
