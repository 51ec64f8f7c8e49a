"""Killed at any moment and started again, a run ends as if it had never been killed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

import polymodal as pm
from polymodal.cli.main import main

STEPS, CODEC_STEPS = 40, 60


def arguments(recipe_file: Path, world: Path, run: Path, **more: float) -> list[str]:
    settings = {
        "steps": STEPS, "codec_steps": CODEC_STEPS, "checkpoint_steps": 4, "validate_every": 0.5,
    } | more  # fmt: skip
    overrides = [word for key, value in settings.items() for word in ("--set", f"train.{key}={value}")]
    return ["train", str(recipe_file), "--data", str(world / "rows.jsonl"), "-o", str(run), *overrides]


def kill_after(command: list[str], stage: Path, step: int) -> int:
    """Starts a run, kills it once the stage has a checkpoint at or after ``step``; gives the newest one's step."""
    process = subprocess.Popen(
        [sys.executable, "-m", "polymodal", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wait_for(process, stage, step)
    process.kill()
    process.wait()
    process.stderr.close()
    assert process.returncode == -9
    return newest_step(stage)


def wait_for(process: subprocess.Popen, stage: Path, step: int) -> None:
    """Returns once the stage has a checkpoint at or after ``step``."""
    deadline = time.monotonic() + 240
    while newest_step(stage) < step:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def newest_step(stage: Path) -> int:
    steps = [int(path.name.removeprefix("step-")) for path in (stage / "checkpoints").glob("step-*")]
    return max(steps, default=-1)


def assert_equal(run: Path, other: Path) -> None:
    for name in ("model", "ema", "trainer/optimizer"):
        mine, theirs = (
            load_file(folder / "checkpoints" / f"step-{STEPS:08d}" / f"{name}.safetensors") for folder in (run, other)
        )
        assert mine.keys() == theirs.keys()
        assert mine
        for key in mine:
            assert torch.equal(mine[key], theirs[key]), f"{name}: {key}"


def test_killed_twice_is_never_killed(recipe_file, world, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(arguments(recipe_file, world, whole)) == 0

    command = arguments(recipe_file, world, killed)
    assert kill_after(command, killed / "codecs" / "picture", 8) < CODEC_STEPS
    assert kill_after(command, killed, 8) < STEPS
    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "sec')  # a line that was cut short
    assert main(command) == 0

    assert_equal(killed, whole)
    lines = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (killed, whole)]
    volatile = {"seconds", "samples_per_second"}
    losses, uninterrupted = (
        [{key: value for key, value in line.items() if key not in volatile} for line in part] for part in lines
    )
    assert [line["step"] for line in losses] == [line["step"] for line in uninterrupted]
    assert losses[-1] == uninterrupted[-1]
    assert not list(killed.rglob(".partial-*"))


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_finishes_the_step_saves_and_has_a_status(recipe_file, world, tmp_path, number):
    part = tmp_path / "run" / "codecs" / "picture"
    command = arguments(recipe_file, world, tmp_path / "run", codec_steps=100_000, checkpoint_steps=100_000)
    status, errors = stop_after(command, part / "metrics.jsonl", number)
    assert status == 128 + number
    assert errors.splitlines() == [
        f"polymodal: {number.name}: what is in work is finished and kept; once more stops at once",
        "polymodal: stopped; the same command continues",
    ]
    last = json.loads((part / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert newest_step(part) >= last > 0


def stop_after(command: list[str], file: Path, number: int, again: float | None = None) -> tuple[int, str]:
    """Starts a run and sends it a signal once ``file`` holds something, and another later; its status and messages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "polymodal", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 240
        while not (file.exists() and file.stat().st_size):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(number)
        if again is not None:
            time.sleep(again)
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, errors


def test_a_corrupt_checkpoint_is_named_and_the_one_before_it_used(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    newest = run / "checkpoints" / "step-00000008"
    weights = bytearray((newest / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (newest / "model.safetensors").write_bytes(weights)

    with pytest.warns(
        UserWarning, match=r"step-00000008: model\.safetensors is corrupt.*the checkpoint before it is used"
    ):
        model = pm.open(run)
    before = pm.open(run / "checkpoints" / "step-00000004")
    for mine, theirs in zip(model.model.parameters(), before.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(pm.CheckpointError, match=r"model\.safetensors is corrupt"):
        pm.open(newest)


@pytest.mark.filterwarnings("default::UserWarning")
def test_training_goes_on_from_before_a_corrupt_checkpoint(trained, recipe_file, world, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    newest = run / "checkpoints" / "step-00000008"
    expected = load_file(newest / "ema.safetensors")
    (newest / "trainer" / "optimizer.safetensors").unlink()
    assert main(["train", str(recipe_file), "--data", str(world / "rows.jsonl"), "-o", str(run)]) == 0
    assert "optimizer.safetensors is missing" in capsys.readouterr().err
    for key, value in load_file(newest / "ema.safetensors").items():
        assert torch.equal(value, expected[key])


def test_a_folder_of_another_run_is_refused(trained, recipe_file, world, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    command = ["train", str(recipe_file), "--data", str(world / "rows.jsonl"), "-o", str(run), "--set", "width=24"]
    assert main(command) == 2
    message = capsys.readouterr().err
    assert "recipe.width is 16 there and 24 here" in message
    assert len(message.splitlines()) == 1


def test_a_run_from_before_an_option_goes_on(trained, recipe_file, world, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    config = json.loads((run / "config.json").read_text())
    del config["recipe"]["tasks"]["tasks_per_row"]
    (run / "config.json").write_text(json.dumps(config))
    assert main(["train", str(recipe_file), "--data", str(world / "rows.jsonl"), "-o", str(run)]) == 0


@pytest.mark.parametrize("text", ['{"port": 80}', '{"format": ', "[]"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_left_alone(world, recipe, tmp_path, text, overwrite):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(pm.CheckpointError, match=r"config\.json: is not that of a run; choose another folder"):
        pm.fit(recipe, world / "rows.jsonl", run=tmp_path, steps=1, overwrite=overwrite)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_another_run_is_replaced_only_when_told(world, recipe, tmp_path):
    def go(seed: int, **options) -> pm.Generator:
        return pm.fit(recipe, world / "rows.jsonl", run=tmp_path, set={"train.seed": seed, "train.steps": 1}, **options)

    go(1)
    with pytest.raises(pm.CheckpointError, match=r"holds another run \(recipe\.train\.seed"):
        go(2)
    assert go(2, overwrite=True).model.recipe.train.seed == 2


def test_a_finished_run_goes_on_for_more_steps(world, recipe, tmp_path):
    def go(run: str, steps: int) -> None:
        pm.fit(recipe, world / "rows.jsonl", run=tmp_path / run, steps=steps)

    go("twice", 3)
    go("twice", 5)
    assert newest_step(tmp_path / "twice") == 5
    assert json.loads((tmp_path / "twice" / "config.json").read_text())["recipe"]["train"]["steps"] == 5


def test_a_finished_run_goes_on_for_more_minutes(world, recipe, tmp_path):
    def go(minutes: float) -> tuple[int, int, float]:
        settings = {"train.validate_every": 2, "train.clock": "processor"}  # whatever else the machine does
        pm.fit(recipe, world / "rows.jsonl", run=tmp_path, minutes=minutes, set=settings)
        step, codec = (newest_step(stage) for stage in (tmp_path, tmp_path / "codecs" / "picture"))
        state = json.loads((tmp_path / "checkpoints" / f"step-{step:08d}" / "trainer" / "state.json").read_text())
        assert state["done"]
        return step, codec, state["seconds"]

    first, codec, _ = go(0.01)
    more, same, seconds = go(0.05)
    assert more > first
    assert same == codec  # the model has learned from the codec as it is
    assert seconds >= 60 * 0.05 * 0.7
    assert go(0.05)[0] == more


def test_a_run_has_one_trainer(world, recipe, tmp_path):
    pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "run", steps=1)
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(pm.CheckpointError, match="another process is training"):
        pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "run", steps=2)
    pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "run", steps=2)


def test_a_run_that_is_replaced_keeps_its_lock_and_a_refused_folder_gets_none(world, recipe, tmp_path):
    pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "run", steps=1)
    (tmp_path / "run" / "link").symlink_to(world)
    lock = (tmp_path / "run" / ".lock").stat().st_ino
    pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "run", steps=2, overwrite=True)
    assert (tmp_path / "run" / ".lock").stat().st_ino == lock
    assert newest_step(tmp_path / "run") == 2
    assert not (tmp_path / "run" / "link").exists()
    assert (world / "rows.jsonl").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(pm.CheckpointError, match="is not empty and holds no run"):
        pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "mine", steps=1, overwrite=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_data_that_have_moved_are_asked_for(world, recipe, tmp_path):
    shutil.copytree(world, tmp_path / "here")
    run = pm.fit(recipe, tmp_path / "here" / "rows.jsonl", run=tmp_path / "run", steps=1)
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(pm.DataError, match=r"rows\.jsonl: no such file.*--data"):
        run.data()
    assert len(run.data(tmp_path / "there" / "rows.jsonl").train)
