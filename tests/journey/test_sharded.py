"""Weights in pieces on several processes: what one process would have learned, and checkpoints that any number reads.

The slow tests are the same with more processes and more rows that lack fields.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal import checkpoint as checkpoints
from polymodal.cli.main import main
from polymodal.errors import CheckpointError


def launch(processes: int, program: list[str]) -> None:
    """Runs a program in several processes on the CPU."""
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone"]
    done = subprocess.run([*run, *program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def sparse(recipe: dict[str, Any], world: Path, file: Path, seed: int) -> None:
    """The rows of the world, of whose fields each keeps two at random."""
    random, lines = np.random.default_rng(seed), []
    for line in (world / "rows.jsonl").read_text().splitlines():
        row = json.loads(line)
        row |= {name: row[name] and str(world / row[name]) for name in ("picture", "tone")}
        kept = random.choice(list(recipe["fields"]), 2, replace=False)
        row |= {name: None for name in recipe["fields"] if name not in kept}
        if any(row[name] for name in recipe["fields"]):
            lines.append(json.dumps(row) + "\n")
    file.write_text("".join(lines))


@pytest.fixture
def plain(recipe) -> dict[str, Any]:
    """One stage, in which the text's transformer is sharded block by block."""
    defaults = {kind: {k: v for k, v in parts.items() if k != "codec"} for kind, parts in recipe["defaults"].items()}
    train = recipe["train"] | {"steps": 4, "warmup": 0.0, "engine": {"kind": "sharded", "block_weights": 1}}
    return recipe | {"defaults": defaults, "train": train}


def command(recipe: dict[str, Any], world: Path, folder: Path, run: str, *settings: str) -> list[str]:
    (folder / "sharded.yaml").write_text(json.dumps(recipe))
    words = [word for setting in settings for word in ("--set", setting)]
    data = str(world / "rows.jsonl")
    return ["train", str(folder / "sharded.yaml"), "--data", data, "-o", str(folder / run), *words]


def polymodal(processes: int, words: list[str]) -> None:
    if processes == 1:
        assert main(words) == 0
    else:
        launch(processes, ["-m", "polymodal", *words])


def assert_close(run: Path, other: Path, name: str) -> None:
    mine, theirs = (checkpoints.find(each).tensors(name) for each in (run, other))
    assert mine.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(mine[key], value, rtol=0.01, atol=2e-3, msg=lambda text, key=key: f"{key}: {text}")


def test_two_processes_learn_what_one_learns_and_one_goes_on(plain, world, tmp_path):
    """With Muon and several lengths of averages, whose snapshots are whole; the two compute blocks again."""
    recipe = plain | {"train": plain["train"] | {"optimizer": "muon"}}
    polymodal(2, command(recipe, world, tmp_path, "two", "train.gradient_checkpointing=true"))
    polymodal(1, command(recipe, world, tmp_path, "one"))
    for name in ("model", "ema", "trainer/optimizer"):
        assert_close(tmp_path / "two", tmp_path / "one", name)
    saved = checkpoints.find(tmp_path / "two").path
    assert len(list((saved / "model").glob("*.safetensors"))) == 2
    assert pm.open(tmp_path / "two").generate({"name": "red disc"}, to="colour")

    for run in ("two", "one"):
        polymodal(1, command(recipe, world, tmp_path, run, "train.steps=6"))
        assert checkpoints.find(tmp_path / run).step == 6
    assert_close(tmp_path / "two", tmp_path / "one", "ema")

    (saved / "model" / "more.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"more\.safetensors is no file of this checkpoint"):
        checkpoints.Checkpoint(saved).tensors("model")
    (saved / "model" / "more.safetensors").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("attention",), ("graph", "poe")])
def test_gradients_equal_those_of_one_process_whatever_rows_lack(recipe, world, tmp_path, kinds):
    """200 steps of four rows on two processes, each with fields that it alone has."""
    gan = {"kind": "gan", "channels": [8, 8], "hidden_size": 8, "noise": 4, "mismatched": 0.0, "penalty_share": 1.0}
    defaults = recipe["defaults"] | {"vector": recipe["defaults"]["vector"] | {"head": gan}}
    sparse(recipe, world, tmp_path / "rows.jsonl", seed=1)
    recipes = {kind: recipe | {"defaults": defaults, "fusion": {"kind": kind}} for kind in kinds}
    (tmp_path / "recipes.json").write_text(json.dumps(recipes))
    words = [tmp_path / "recipes.json", tmp_path / "rows.jsonl", tmp_path, "sharded", 200 // len(kinds)]
    launch(2, [str(Path(__file__).with_name("uniform.py")), *map(str, words)])
    for rank in (0, 1):
        found = json.loads((tmp_path / f"rank-{rank}.json").read_text())
        for kind in kinds:
            assert found[kind]["lacking"] > 100
            assert max(found[kind]["distances"]) < 1e-5, kind


@pytest.mark.slow
def test_a_checkpoint_goes_on_with_any_number_of_processes(recipe, world, tmp_path):
    """Codecs, which are whole everywhere, are trained first; three processes have pieces that are empty."""
    train = recipe["train"] | {"engine": {"kind": "sharded", "block_weights": 1}, "batch_size": 12}
    whole = recipe | {"train": train}
    polymodal(1, command(whole, world, tmp_path, "one", "train.steps=12"))
    polymodal(2, command(whole, world, tmp_path, "run", "train.steps=4"))
    polymodal(3, command(whole, world, tmp_path, "run", "train.steps=8"))
    polymodal(1, command(whole, world, tmp_path, "run", "train.steps=10"))
    polymodal(2, command(whole, world, tmp_path, "run", "train.steps=12"))
    assert checkpoints.find(tmp_path / "run").step == 12
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
