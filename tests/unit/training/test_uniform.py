"""A row that tells nothing passes every part, so that a process without rows can call what the others call."""

from copy import deepcopy

import pytest
import torch

import polymodal as pm
from contract.spaces import SPACES, WIDTH, make_context, needs_model
from contract.test_heads import SMALL
from polymodal.config import load_recipe
from polymodal.encoders import ENCODERS
from polymodal.heads import HEADS
from polymodal.model import MicroBatch, Model
from polymodal.nn.random import make_keys
from polymodal.parts import build_part
from polymodal.types import Field, Needs, Task

CASES = [
    (family, kind, name)
    for family, table in (("encoder", ENCODERS), ("head", HEADS))
    for kind, part in table.items()
    for name, space in SPACES.items()
    if part.accepts(space) is None and not needs_model(part)
]


def make(family: str, kind: str, name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    small = SMALL.get(kind, {}) if family == "head" else {}
    return build_part(family, {"kind": kind, **small}, family, SPACES[name], WIDTH).train()


@pytest.mark.parametrize(("family", "kind", "name"), CASES)
def test_a_blank_row_has_finite_losses_and_gradients(family, kind, name):
    part, blank = make(family, kind, name), Field.blank(SPACES[name])
    for player in getattr(part, "players", ("model",)):
        part.zero_grad()
        if family == "encoder":
            total = part(blank).x.sum()
        else:
            total = sum(term.sum() for term in part.loss(make_context(1), blank, player, make_keys(0, 1)).values())
        assert total.isfinite()
        total.backward()
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("kind", ["gan", "vae"])
def test_what_only_other_processes_need_is_called_and_changes_no_number(kind):
    """Heads that watch their losses keep what they saw in buffers."""
    parts = {"encoder": {"kind": "vector"}, "head": {"kind": kind, **SMALL[kind]}}
    fields = {name: {"modality": "vector", "size": 2, **parts} for name in ("here", "there")}
    torch.manual_seed(0)
    model = Model(load_recipe({"width": 16, "fields": fields}), dict.fromkeys(fields, pm.Vector(size=2))).train()
    yes, no = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    batch = {"here": Field.full(torch.randn(3, 2)), "there": Field.absent(pm.Vector(size=2).space, 3)}
    task, start = Task({"here": yes, "there": no}, {"here": yes, "there": no}), deepcopy(model.state_dict())

    def step(needs: Needs) -> dict[str, torch.Tensor]:
        """All that a step computes: the loss, its terms, gradients by parameter, buffers."""
        model.load_state_dict(start)
        model.zero_grad()
        loss, terms = model(MicroBatch(batch, task, make_keys(1, 3), {"here": 3, "there": 2}, 6, needs=needs), "model")
        loss.backward()
        gradients = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
        return {"loss": loss.detach(), **terms, **gradients, **{n: b.clone() for n, b in model.named_buffers()}}

    alone, uniform = step(Needs()), step(Needs(set(fields), set(fields), set(fields)))
    for name, value in alone.items():
        torch.testing.assert_close(uniform[name], value, msg=lambda text, name=name: f"{name}: {text}")
    new = uniform.keys() - alone.keys()
    assert {"gradient of encoders.there", "gradient of heads.there"} <= {".".join(n.split(".")[:2]) for n in new}
    assert not any(uniform[name].any() for name in new)
