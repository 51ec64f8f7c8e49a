"""`fill` and `evaluate` are stopped as `train` is: what is in work is kept, and the same command continues."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import polymodal as pm
from polymodal import stopping
from polymodal.cli.main import main
from polymodal.files import file_sha256

pytestmark = pytest.mark.usefixtures("signals")


def send_once_there(file: Path, number: int) -> threading.Thread:
    """Sends this process a signal once a command sees to it, and there is a file."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while not (file.exists() and callable(signal.getsignal(number))) and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_fill_keeps_the_shard_in_work(trained, tmp_path, capfd):
    rows = [{"name": ("red disc", "blue square")[k % 2], "colour": None} for k in range(1100)]
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def fill(output: str) -> int:
        return main(["fill", str(trained), str(tmp_path / "table.jsonl"), "-o", str(tmp_path / output), "--draw"])

    assert fill("whole.jsonl") == 0
    sender = send_once_there(tmp_path / "filled.jsonl.partial" / "shard-000000.json", signal.SIGTERM)
    assert fill("filled.jsonl") == 143
    sender.join()
    assert capfd.readouterr().err.splitlines()[-1] == "polymodal: stopped; the same command continues"
    assert not (tmp_path / "filled.jsonl").exists()
    done = sorted((tmp_path / "filled.jsonl.partial").glob("shard-*.json"))
    assert 1 <= len(done) < 5
    times = [file.stat().st_mtime_ns for file in done]
    sender = send_once_there(done[-1], signal.SIGHUP)  # at once: before there is anything in work, or in the next shard
    assert fill("filled.jsonl") == 129
    sender.join()
    assert [file.stat().st_mtime_ns for file in done] == times
    assert fill("filled.jsonl") == 0
    assert (tmp_path / "filled.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_fill_goes_on_where_only_its_clearing_away_was_killed(trained, tmp_path):
    (tmp_path / "table.jsonl").write_text('{"name": "red disc", "colour": null}\n' * 3)
    command = ["fill", str(trained), str(tmp_path / "table.jsonl"), "-o", str(tmp_path / "filled.jsonl")]
    assert main(command) == 0
    content, partial = (tmp_path / "filled.jsonl").read_bytes(), tmp_path / "filled.jsonl.partial"
    partial.mkdir()
    (partial / "joined").write_text(file_sha256(tmp_path / "filled.jsonl"))
    assert main(command) == 0
    assert (tmp_path / "filled.jsonl").read_bytes() == content
    assert not partial.exists()
    assert main(command) == 2  # once it is cleared away, the output is one like any other

    partial.mkdir()
    (partial / "joined").write_text(file_sha256(tmp_path / "filled.jsonl"))
    (tmp_path / "filled.jsonl").write_text("of somebody else")
    assert main(command) == 2
    assert (tmp_path / "filled.jsonl").read_text() == "of somebody else"


def test_evaluate_keeps_the_direction_in_work(trained, tmp_path):
    run = pm.open(shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation")))
    options = {"judge_steps": 0, "n_rows": 2, "codecs": False, "thorough": False}
    directions = [(["colour"], "name"), (["name"], "colour"), (["place"], "colour")]
    seen = []

    def progress(place: int, count: int, name: str) -> None:
        if ":" not in name:  # else it is of a part of the direction
            seen.append(name)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    def score() -> None:
        with stopping.handle_signals():
            run.evaluate(directions=directions, progress=progress, **options)

    with pytest.raises(stopping.Stopped) as stopped:
        score()
    assert stopped.value.status == 143
    assert len(list((tmp_path / "run" / "evaluation" / "cells").glob("*.json"))) == len(seen) == 2
    seen[:] = [""] * 2
    score()
    assert len(seen) == 3  # only the direction that was missing


def test_a_signal_after_the_work_changes_no_status():
    code = (
        "import atexit, sys, time\n"
        "atexit.register(lambda: (print('done', flush=True), time.sleep(2)))\n"
        "from polymodal.cli.main import main\n"
        "sys.argv = ['polymodal', 'recipes']\n"
        "sys.exit(main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line == "done\n":
            break
    process.send_signal(signal.SIGTERM)
    process.stdout.close()
    assert process.wait() == 0
