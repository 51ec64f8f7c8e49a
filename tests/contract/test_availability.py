"""Any pattern of cells may be missing, in each row and on each process: what is there teaches its own parts."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from contract.availability import MODALITIES, PATTERNS, make_batch, make_model, micro_batch
from polymodal.alignment import ALIGNMENTS
from polymodal.model import MicroBatch
from polymodal.nn.random import make_keys
from polymodal.types import Task

NAMES = tuple(MODALITIES)


@pytest.fixture(scope="module")
def three(recipe):
    """The tiny recipe with three fields, one generated adversarially, an alignment and a balance."""
    kinds = {"picture": "image", "name": "text", "place": "vector"}
    heads = {"place": {"kind": "gan", "channels": [8, 8], "hidden_size": 8, "noise": 4}}
    fields = {
        name: recipe["fields"][name] | {"encoder": recipe["defaults"][kind]["encoder"]}
        | {"head": heads.get(name, recipe["defaults"][kind]["head"] | ({"patch": 8} if name == "picture" else {}))}
        for name, kind in kinds.items()
    }  # fmt: skip
    return {
        "width": 16, "fields": fields, "fusion": recipe["fusion"], "alignment": {"kind": "infonce", "size": 8},
        "train": {"balance": {"kind": "gradient-share"}},
    }  # fmt: skip


def taught(model, prefix):
    """Fields of which a parameter under ``prefix`` has a gradient other than 0."""
    found = set()
    for name, parameter in model.named_parameters():
        if name.startswith(prefix) and parameter.grad is not None and parameter.grad.any():
            assert parameter.grad.isfinite().all()
            found.add(name.split(".")[1])
    return found


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: "".join("01"[there] for there in pattern))
def test_a_row_teaches_the_parts_of_the_fields_it_has_and_no_others(three, pattern):
    model = make_model({key: value for key, value in three.items() if key != "alignment"}).train()
    there = {name for name, has in zip(NAMES, pattern, strict=True) if has}
    rows = 12
    own = micro_batch(model, [pattern] * rows, make_keys(3, rows), torch.arange(rows))
    loss, terms = model(own, "model")
    loss.backward()
    assert loss.isfinite()
    assert {name.split(".")[0] for name in terms} == there
    assert taught(model, "heads.") == there
    assert taught(model, "encoders.") == there, "a row with one field is given it at times and asked for it"


@pytest.mark.parametrize("kind", sorted(ALIGNMENTS))
def test_patterns_of_a_batch_may_differ_row_by_row(three, kind):
    model = make_model(three | {"alignment": {"kind": kind}}).train()
    for count in (1, 2, 7):
        for patterns in itertools.islice(itertools.combinations(PATTERNS, count), 21):
            own = micro_batch(model, patterns, make_keys(4, count), torch.arange(count))
            loss, _ = model(own, "model")
            loss.backward()
            assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_row_with_one_field_teaches_its_codec(recipe):
    model = make_model(
        {"width": 16, "fields": {n: recipe["fields"][n] for n in NAMES}, "defaults": {
            "image": recipe["defaults"]["image"]}}
    ).train()  # fmt: skip
    batch = make_batch([(True, False, False)] * 4)
    codec = model.codecs["picture"].requires_grad_(True)
    for player in codec.players:
        losses = codec.loss(batch["picture"], player, make_keys(0, 4))
        assert all(loss.isfinite().all() for loss in losses.values())
    code = model.target(batch, "picture")
    everywhere, nowhere = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    task = Task(dict.fromkeys(NAMES, nowhere), dict.fromkeys(NAMES, nowhere) | {"picture": everywhere})
    _, terms = model(MicroBatch(batch, task, make_keys(0, 4), {"picture": 4}, 4), "model")
    assert code.present.all()
    assert all(term.isfinite() for term in terms.values())


def test_no_pair_of_patterns_dead_locks_two_processes(three, tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps(three))
    script = Path(__file__).with_name("availability.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", str(script)]
    done = subprocess.run(
        [*launch, str(tmp_path / "recipe.json"), str(tmp_path / "result")], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((tmp_path / f"result-{rank}").read_text()) for rank in (0, 1))
    assert one["steps"] == len(PATTERNS) ** 2
    assert one["wrong"] == []
    assert two["wrong"] == []
    assert one["weights"] == two["weights"]
    assert set(one["weights"]) == set(NAMES)
