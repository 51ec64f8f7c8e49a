"""Two processes learn what one would have learned, and never wait for each other in vain."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from polymodal.cli.main import main
from polymodal.fusion import FUSIONS


def launch(program: list[str], timeout_seconds: float = 240) -> None:
    """Runs a program in two processes on the CPU."""
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    done = subprocess.run([*run, *program], capture_output=True, text=True, timeout=timeout_seconds)
    assert done.returncode == 0, done.stderr[-3000:]


def distributed(command: list[str]) -> None:
    """Runs a command of ``polymodal`` in two processes."""
    launch(["-m", "polymodal", *command])


def plain(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe without codecs: one stage."""
    defaults = {kind: {k: v for k, v in parts.items() if k != "codec"} for kind, parts in recipe["defaults"].items()}
    return recipe | {"defaults": defaults}


def tensors(run: Path, step: int, name: str) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{step:08d}" / f"{name}.safetensors")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_equal_those_of_one_process(recipe, world, tmp_path, accumulate):
    (tmp_path / "plain.yaml").write_text(json.dumps(plain(recipe)))
    settings = ["--set", "train.steps=1", "--set", "train.warmup=0", "--set", f"train.accumulate={accumulate}"]
    command = ["train", str(tmp_path / "plain.yaml"), "--data", str(world / "rows.jsonl"), *settings]
    distributed([*command, "-o", str(tmp_path / "two")])
    assert main([*command, "-o", str(tmp_path / "one")]) == 0
    one, two = (tensors(tmp_path / run, 1, "trainer/optimizer") for run in ("one", "two"))
    gradients = [key for key in one if key.endswith(".exp_avg")]  # after one step a tenth of the clipped gradient
    assert one.keys() == two.keys()
    assert any(one[key].abs().max() > 1e-4 for key in gradients)
    for key in gradients:
        torch.testing.assert_close(two[key], one[key], rtol=1e-4, atol=1e-7, msg=lambda text, key=key: f"{key}: {text}")


def test_weights_stay_those_of_one_process(recipe_file, world, tmp_path):
    command = ["train", str(recipe_file), "--data", str(world / "rows.jsonl"), "--set", "train.steps=4"]
    distributed([*command, "-o", str(tmp_path / "two")])
    assert main([*command, "-o", str(tmp_path / "one")]) == 0
    one, two = (tensors(tmp_path / run, 4, "ema") for run in ("one", "two"))
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=0.01, atol=2e-3, msg=lambda text, key=key: f"{key}: {text}")


def test_processes_whose_rows_lack_different_fields_do_not_wait_forever(recipe, tmp_path):
    """With one row each, two processes nearly always train different heads; some rows train none at all."""
    fields = {name: recipe["fields"][name] for name in ("name", "colour", "place")}
    fields["colour"] = fields["colour"] | {"role": "input"}
    rows: list[dict[str, Any]] = [{"colour": "red"}, {"name": "a disc"}, {"place": [1, 2]}, {"colour": "blue"}] * 4
    rows += [{"name": "red", "place": [3, 4], "colour": "green"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row | {"split": "train"}) + "\n" for row in rows))
    sparse = plain(recipe) | {"fields": fields, "data": {"validation": 0.0}}
    (tmp_path / "sparse.yaml").write_text(json.dumps(sparse))
    command = ["train", str(tmp_path / "sparse.yaml"), "--data", str(tmp_path / "rows.jsonl")]
    command += ["--set", "train.batch_size=2", "--set", "train.steps=24"]
    distributed([*command, "-o", str(tmp_path / "two")])
    assert main([*command, "-o", str(tmp_path / "one")]) == 0
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 24


def test_processes_call_the_same_modules_whatever_their_rows_lack(recipe, world, tmp_path):
    """Weights that are sharded are gathered where a module is called: who skips one leaves the others waiting."""
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()]
    random = np.random.default_rng(1)
    for row in rows:
        kept = random.choice(list(recipe["fields"]), 2, replace=False)
        row |= {n: row[n] and str(world / row[n]) for n in ("picture", "tone")} | dict.fromkeys(
            set(row) - {*kept, "id"}
        )
    rows = [row for row in rows if any(row[name] for name in recipe["fields"])]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    gan = {"kind": "gan", "channels": [8, 8], "hidden_size": 8, "noise": 4, "mismatched": 0.0, "penalty_share": 1.0}
    defaults = recipe["defaults"] | {"vector": recipe["defaults"]["vector"] | {"head": gan}}
    recipes = {kind: recipe | {"defaults": defaults, "fusion": {"kind": kind}} for kind in FUSIONS}
    vae = {"kind": "vae", "latent": 2, "hidden_size": 8, "channels": [8]}
    recipes["likelihood"] = recipe | {"defaults": defaults | {"vector": defaults["vector"] | {"head": vae}}}
    recipes["aligned"] = recipes["attention"] | {"alignment": {"kind": "mmd"}, "tasks": {"tasks_per_row": 2}}
    (tmp_path / "recipes.json").write_text(json.dumps(recipes))
    script = Path(__file__).with_name("uniform.py")
    launch([str(script), str(tmp_path / "recipes.json"), str(tmp_path / "rows.jsonl"), str(tmp_path)])
    one, two = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    for kind in recipes:
        assert min(one[kind]["lacking"], two[kind]["lacking"]) > 10, "or this would test nothing"
        assert one[kind]["calls"] == two[kind]["calls"]
        assert max(one[kind]["distances"] + two[kind]["distances"]) < 1e-5, kind
        assert max(one[kind]["variances"] + two[kind]["variances"], default=0.0) < 1e-5, kind
    assert len(one["likelihood"]["variances"]) == len(two["likelihood"]["variances"]) > 0
    (mine, all_rows), (theirs, _) = one["attention"]["watched"], two["attention"]["watched"]
    assert mine != theirs, "each process sums what its own rows show"
    together = [a + b for a, b in zip(mine[:8], theirs[:8], strict=True)]
    assert together == pytest.approx(all_rows[:8], rel=1e-3, abs=1e-3)


def test_validation_in_one_process_waits_for_no_other(recipe, world, tmp_path):
    """An alignment sees the rows of all processes, which only training has."""
    aligned = plain(recipe) | {"alignment": {"kind": "infonce"}}
    (tmp_path / "aligned.yaml").write_text(json.dumps(aligned))
    command = ["train", str(tmp_path / "aligned.yaml"), "--data", str(world / "rows.jsonl"), "--set", "train.steps=4"]
    command += ["--set", "train.validate_every=0.5", "--set", "tasks.tasks_per_row=2"]
    distributed([*command, "-o", str(tmp_path / "two")])
    assert main([*command, "-o", str(tmp_path / "one")]) == 0
    one, two = (tensors(tmp_path / run, 4, "ema") for run in ("one", "two"))
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=0.01, atol=2e-3, msg=lambda text, key=key: f"{key}: {text}")


def test_an_alignment_needs_equal_shares(recipe, world, tmp_path):
    """Else what is gathered from another process would be cut wrongly."""
    (tmp_path / "aligned.yaml").write_text(json.dumps(plain(recipe) | {"alignment": {"kind": "infonce"}}))
    command = [
        "train",
        str(tmp_path / "aligned.yaml"),
        "--data",
        str(world / "rows.jsonl"),
        "-o",
        str(tmp_path / "run"),
    ]
    with pytest.raises(AssertionError, match=r"train\.batch_size: 5 rows cannot be divided evenly into 2"):
        distributed([*command, "--set", "train.steps=2", "--set", "train.batch_size=5"])


def test_rows_that_cannot_be_divided_are_refused(recipe_file, world, tmp_path, capsys):
    command = ["train", str(recipe_file), "--data", str(world / "rows.jsonl"), "-o", str(tmp_path / "run")]
    assert main([*command, "--set", "train.batch_size=2", "--set", "train.accumulate=4"]) == 2
    assert "train.accumulate: 4 parts of 2 rows" in capsys.readouterr().err


def test_what_is_not_finite_on_one_process_stops_both(recipe, tmp_path):
    """Every second row has a number whose loss overflows; neither process waits for the other in vain."""
    fields = {
        "colour": recipe["fields"]["colour"],
        "place": {"modality": "vector", "size": 1, "mean": 0.0, "std": 1e-25},
    }
    rows = [{"colour": "red", "place": [float(k % 2)], "split": "train"} for k in range(16)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = json.dumps(plain(recipe) | {"fields": fields, "data": {"validation": 0.0}})
    (tmp_path / "r.yaml").write_text(text.replace("1e-25", "1.0e-25"))  # else YAML reads a text
    command = ["-m", "polymodal", "train", str(tmp_path / "r.yaml"), "--data", str(tmp_path / "rows.jsonl")]
    command += ["-o", str(tmp_path / "run"), "--set", "train.steps=40", "--set", "train.batch_size=2"]
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    done = subprocess.run([*run, *command], capture_output=True, text=True, timeout=240)
    assert done.returncode
    assert "place.flow" in done.stderr
    assert "training has stopped" in done.stderr
    assert "is trained" not in done.stdout


SUMS = """
import json, torch
from polymodal.balancing import BALANCERS
from polymodal.training.adaptation import Adaptation
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
def start():
    return Adaptation({"a": 1.0}, balancer=BALANCERS["uncertainty"](["a"]))
before, after = start(), start()
before.observe("model", {"a.nll": torch.tensor(1.0 + rank)}, {"a": 2})
before.step(1)
state = json.loads(json.dumps(before.state))  # the first process writes it, and all read what it wrote
after.restore(state, first=rank == 0)
assert state["losses"] == {"a.nll": 3.0}, state
assert after.state == state, after.state
torch.distributed.destroy_process_group()
"""


def test_what_a_balancer_has_seen_is_that_of_both_when_a_run_goes_on(tmp_path):
    (tmp_path / "sums.py").write_text(SUMS)
    launch([str(tmp_path / "sums.py")])
