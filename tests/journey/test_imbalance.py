"""A run whose weights, odds and rates adapt: told in the log, resumed exactly, the same on two processes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from journey.test_two_processes import distributed, plain
from polymodal.cli.main import main

STEPS = 40
ADAPTING = {
    "train.balance": "{kind: gradient-share, shares: {name: 2}}",
    "tasks.sampling": "progress",
    "train.adapt_rates": "true",
    "train.steps": STEPS,
    "train.checkpoint_steps": 20,  # between two looks
    "train.validate_every": 0.5,
    "fields.place.weight": 30,
}


@pytest.fixture(scope="module")
def command(recipe, world, tmp_path_factory) -> list[str]:
    file = tmp_path_factory.mktemp("adapting") / "plain.yaml"
    file.write_text(json.dumps(plain(recipe)))
    settings = [word for key, value in ADAPTING.items() for word in ("--set", f"{key}={value}")]
    return ["train", str(file), "--data", str(world / "rows.jsonl"), *settings]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory) -> Path:
    """A run that was never stopped."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*command, "-o", str(run)]) == 0
    return run


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_weights_are_logged_and_every_decision_told(whole):
    weights = [line["balance.place"] for line in lines(whole) if "balance.place" in line]
    assert weights[-1] < 0.5, "its loss was 30 x as large as its field's share of the gradient wants it"
    told = [line["decision"] for line in lines(whole) if "decision" in line]
    assert any(line.startswith("balance.place 1 -> ") and "gradient" in line for line in told)
    assert any(line.startswith("odds.") for line in told)
    last = next(line for line in reversed(lines(whole)) if "loss" in line)
    assert {f"{kind}.{name}" for kind in ("odds", "rates") for name in ("name", "place", "tone")} <= set(last)


def test_stopped_between_two_looks_it_goes_on_as_if_it_had_not_been(whole, command, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "checkpoints" / f"step-{STEPS:08d}")
    assert main([*command, "-o", str(run)]) == 0
    last = f"checkpoints/step-{STEPS:08d}"
    for name in ("model", "ema", "trainer/optimizer"):
        one, two = (load_file(folder / last / f"{name}.safetensors") for folder in (run, whole))
        assert all(torch.equal(one[key], two[key]) for key in two), name
    one, two = (json.loads((folder / last / "trainer" / "state.json").read_text()) for folder in (run, whole))
    assert one["adaptation"] == two["adaptation"]
    assert set(two["adaptation"]) >= {"balance", "odds", "rates"}


def test_two_processes_decide_as_one(whole, command, tmp_path):
    distributed([*command, "-o", str(tmp_path / "two")])
    one, two = (
        json.loads((run / f"checkpoints/step-{STEPS:08d}/trainer/state.json").read_text())["adaptation"]
        for run in (whole, tmp_path / "two")
    )
    assert two["balance"]["weights"] == pytest.approx(one["balance"]["weights"], rel=0.02)
    assert two["odds"]["odds"] == pytest.approx(one["odds"]["odds"], rel=0.1)
    assert two["rates"]["factors"] == one["rates"]["factors"]


def test_scarce_fields_are_drawn_more_often_from_the_command_line(command, recipe, world, tmp_path):
    settings = ["--set", "tasks.sampling=scarcity", "--set", "train.steps=2", "--set", "train.balance={kind: dwa}"]
    assert main([*command, *settings, "-o", str(tmp_path / "run")]) == 0
    state = json.loads((tmp_path / "run/checkpoints/step-00000002/trainer/state.json").read_text())["adaptation"]
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()]
    assert max(state["odds"]["odds"].values()) == 1.0
    assert len(set(state["odds"]["odds"].values())) > 1
    assert len(rows) == 60


def test_a_wrong_balance_is_refused_before_anything_is_written(command, tmp_path, capsys):
    assert main([*command, "--set", "train.balance={kind: gradnrm}", "-o", str(tmp_path / "run")]) == 2
    assert "train.balance.kind: 'gradnrm' is unknown; did you mean 'gradnorm'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
