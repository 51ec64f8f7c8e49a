"""A real Ray cluster of two nodes on this machine: one of them dies in training, which goes on by itself."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import polymodal as pm
from polymodal import checkpoint as checkpoints
from polymodal.cli.main import main

pytest.importorskip("ray", reason="needs the extra 'scale'")
EVERY, STEPS = 20, 200


def command(recipe: dict, world: Path, folder: Path) -> list[str]:
    defaults = {kind: {k: v for k, v in parts.items() if k != "codec"} for kind, parts in recipe["defaults"].items()}
    (folder / "plain.yaml").write_text(json.dumps(recipe | {"defaults": defaults}))
    words = ["train", str(folder / "plain.yaml"), "--data", str(world / "rows.jsonl"), "-o", str(folder / "run")]
    return [*words, "--engine", "ray"]


def test_mistakes_are_told_before_a_cluster_is_looked_for(recipe, world, tmp_path, capsys):
    words = command(recipe, world, tmp_path)
    assert main([*words, "--workers", "0"]) == 2
    assert "--workers: 0 is not at least 1" in capsys.readouterr().err
    assert main([*words, "--set", "fusion.depth=-1", "--address", "127.0.0.1:1"]) == 2
    assert "fusion" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_training_goes_on_when_a_node_dies(recipe, world, tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")  # on a machine that others use as well
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node, run, training = cluster.add_node(num_cpus=1), tmp_path / "run", None
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    settings = [f"train.steps={STEPS}", f"train.checkpoint_steps={EVERY}", "train.validate_every=1.0"]
    words = [*command(recipe, world, tmp_path), "--workers", "2"]
    words += [word for setting in settings for word in ("--set", setting)]
    try:
        with (tmp_path / "output").open("wb") as output:
            # Nodes can only be added by a main thread, which therefore does not train.
            training = subprocess.Popen([sys.executable, "-m", "polymodal", *words], stdout=output, stderr=output)
        while not list(run.glob("checkpoints/step-*")):
            assert training.poll() is None, (tmp_path / "output").read_text()
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)
        lost = log_of(run)[-1]["step"]
        cluster.add_node(num_cpus=1)  # as whoever runs a cluster replaces a machine
        assert training.wait(timeout=600) == 0, (tmp_path / "output").read_text()
    finally:
        if training is not None:
            training.kill()
            training.wait()
        cluster.shutdown()
    assert checkpoints.find(run).step == STEPS
    assert 0 < lost < STEPS, "or it died after the training"
    steps = [entry["step"] for entry in log_of(run) if "step" in entry]
    assert steps == sorted(steps)
    assert {*steps} == {*range(2, STEPS + 1, 2)}, "every other step is logged once, those after the checkpoint again"
    assert pm.open(run).generate({"name": "red disc"}, to="colour")
    assert not (tmp_path / ".run.ray").exists()


def log_of(run: Path) -> list[dict]:
    """The whole lines of a training's log."""
    *lines, _unfinished = (run / "metrics.jsonl").read_text().split("\n")
    return [json.loads(line) for line in lines]
