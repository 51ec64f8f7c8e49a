"""Which precision a run is trained in: what its recipe asks for, on the machine that it is on."""

import pytest
import torch

import polymodal as pm
from polymodal.heads.flow import Flow
from polymodal.nn.random import make_keys, normal
from polymodal.training.precision import precision as chosen
from polymodal.training.precision import quicken_convolutions, restore_convolutions
from polymodal.types import Context, Field, Space


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
        ("convolutions", True, "", "bf16"),
        ("convolutions", False, "avx512_bf16", "convolutions"),
        ("convolutions", False, "avx512_f", "no"),
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


def test_a_unet_learns_in_bf16_and_the_rest_as_it_is():
    torch.manual_seed(0)
    head = Flow(Space("continuous", (1, 8, 8)), 16, channels=(16, 32), attention=True, patch=2)
    for parameter in head.parameters():
        parameter.data.normal_(std=0.1)
    context = Context(
        normal(make_keys(0, 2), (3, 16)), torch.ones(2, 3, dtype=torch.bool), normal(make_keys(1, 2), (16,))
    )
    target = Field.full(normal(make_keys(2, 2), (1, 8, 8)))

    def gradients() -> tuple[torch.Tensor, ...]:
        loss = head.loss(context, target, "model", make_keys(3, 2))["flow"].sum()
        assert loss.dtype == torch.float32
        return torch.autograd.grad(loss, [head.network.unet.proj_in.weight, head.network.condition.summary.weight])

    exact = gradients()
    quicken_convolutions(head)
    near = gradients()
    restore_convolutions(head)
    for one, other in zip(exact, near, strict=True):
        assert not torch.equal(one, other)
        assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.99
    assert all(torch.equal(one, other) for one, other in zip(exact, gradients(), strict=True))
