"""Killed or stopped at any moment and called again, a command ends as if it had never been disturbed.

    python benchmarks/kills.py [--kills 20] [--terms 5] [--commands train load fill evaluate]

Each command works on a small world of its own and is disturbed at random times, spread evenly over how long it
takes: by SIGKILL, which no process can see to, and by SIGTERM, after which the status must be 143. Then it is called
again until it ends by itself, and what it leaves must be that of an undisturbed call, bit for bit, with nothing half
written beside it. The exit status is 1 if anything was wrong.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from record import RESULTS, about, save
from tiny import DEFAULTS, FUSION, SHAPES, draw_shape

COLOURS = ("red", "green", "blue")
TINY = {
    "fields": {
        "picture": {"modality": "image", "size": 16},
        "name": {"modality": "text", "max_length": 16},
        "colour": {"modality": "label"},
        "place": {"modality": "vector", "size": 2},
    },
    "width": 16,
    "defaults": DEFAULTS,
    "fusion": FUSION,
    "data": {"test": 0.2, "validation": 0.1},
    "train": {"steps": 60, "codec_steps": 60, "batch_size": 8, "codec_batch_size": 8, "checkpoint_steps": 5},
}
LOAD = """
import hashlib, sys, polymodal as pm
from pathlib import Path
data = pm.load(sys.argv[1])
state = hashlib.sha256()
for name, column in sorted(data.rows.columns.items()):
    state.update(name.encode() + column.slots.tobytes() + column.values.tobytes())
Path(sys.argv[2]).write_text(state.hexdigest())
"""


@dataclass(frozen=True)
class Work:
    """A command that is disturbed.

    Attributes:
        command: Arguments of Python, for a folder of its own.
        results: What it leaves in the folder, by name; equal where the results are.
        prepare: Makes the folder.
        status: Exit status after SIGTERM.
    """

    command: Callable[[Path], list[str]]
    results: Callable[[Path], dict[str, str]]
    prepare: Callable[[Path], None] = lambda folder: folder.mkdir(parents=True)
    status: int = 143


def make_world(folder: Path, rows: int) -> None:
    """``rows.jsonl`` of coloured shapes, every fifth cell missing; ``large.jsonl`` has each row ten times."""
    folder.mkdir(parents=True)
    rng, lines = np.random.default_rng(0), []
    for number in range(rows):
        colour, shape = COLOURS[number % 3], SHAPES[number // 3 % 2]
        x, y = rng.uniform(5, 11, 2).round(2).tolist()
        draw_shape(colour, shape, x, y).save(folder / f"{number}.png")
        row = {"picture": f"{number}.png", "name": f"{colour} {shape}", "colour": colour, "place": [x, y]}
        lines.append(json.dumps({name: None if rng.random() < 0.2 else cell for name, cell in row.items()}) + "\n")
    (folder / "rows.jsonl").write_text("".join(lines))
    (folder / "large.jsonl").write_text("".join(lines * 10))
    (folder / "tiny.yaml").write_text(json.dumps(TINY))


def sha(*files: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def trained(folder: Path) -> dict[str, str]:
    newest = folder / "run" / "checkpoints" / f"step-{TINY['train']['steps']:08d}"
    return sha(*(newest / f"{name}.safetensors" for name in ("model", "ema", "trainer/optimizer")))


def scored(folder: Path) -> dict[str, str]:
    scores = json.loads((folder / "run" / "evaluation" / "test.json").read_text())
    return {"scores": json.dumps(scores, sort_keys=True)}


def works(place: Path) -> dict[str, Work]:
    """The commands, in a folder that ``make_world`` filled and that has a trained ``run``."""
    world, run = place / "world", place / "run"
    polymodal = ["-m", "polymodal"]

    def copy_of_run(folder: Path) -> None:
        shutil.copytree(run, folder / "run")
        shutil.copytree(place / "cache" / "places", folder / "cache" / "places")  # else its data are a stranger's

    return {
        "train": Work(
            lambda f: [*polymodal, "train", str(world / "tiny.yaml"), "--data", str(world / "rows.jsonl"), "-o",
                       str(f / "run")],
            trained,
        ),
        "load": Work(
            lambda f: ["-c", LOAD, str(world / "large.jsonl"), str(f / "digest")],
            lambda f: sha(f / "digest"),
            status=-signal.SIGTERM,  # a script of one's own, which sees to no signals
        ),
        "fill": Work(
            lambda f: [*polymodal, "fill", str(run), str(world / "large.jsonl"), "-o", str(f / "out" / "filled.jsonl")],
            lambda f: sha(*sorted(path for path in (f / "out").rglob("*") if path.is_file())),
        ),
        "evaluate": Work(
            lambda f: [*polymodal, "evaluate", str(f / "run"), "--rows", "20", "--judge-steps", "20"],
            scored,
            copy_of_run,
        ),
    }  # fmt: skip


def call(work: Work, folder: Path, disturb: tuple[int, float] | None = None) -> tuple[int, float, str]:
    """Runs a command, which a signal may disturb after some seconds: its status, seconds, and messages."""
    environment = os.environ | {"POLYMODAL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *work.command(folder)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        _, errors = process.communicate(timeout=None if disturb is None else disturb[1])
    except subprocess.TimeoutExpired:
        process.send_signal(disturb[0])
        _, errors = process.communicate()
    finally:
        process.kill()
    return process.returncode, time.monotonic() - begin, errors


def rubble(folder: Path) -> list[str]:
    """What is half written."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*partial*")]


def ended(work: Work, folder: Path, wanted: dict[str, str]) -> bool:
    """Whether all was done when the signal came, and Python had only to end."""
    try:
        return work.results(folder) == wanted and not rubble(folder)
    except FileNotFoundError:
        return False


def disturbed(work: Work, folder: Path, number: int, seconds: float, wanted: dict[str, str]) -> dict[str, Any]:
    """Disturbs a command once, calls it again, and compares."""
    work.prepare(folder)
    status, _, errors = call(work, folder, (number, seconds))
    allowed = {0, -number if number == signal.SIGKILL else work.status}
    if number == signal.SIGTERM and seconds < 2:
        allowed.add(-number)  # Python was not yet there to see to it
    wrong = [] if status in allowed else [f"status {status}: {errors[-500:]}"]
    if status and not ended(work, folder, wanted):
        again, _, errors = call(work, folder)
        if again:
            wrong.append(f"status {again} when called again: {errors[-500:]}")
    if not wrong:
        found = work.results(folder)
        wrong += [f"{name} differs" for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
        wrong += [f"left: {name}" for name in rubble(folder)]
    shutil.rmtree(folder)
    return {"signal": signal.Signals(number).name, "after_seconds": seconds, "status": status, "wrong": wrong}


def moments(count: int, seconds: float, rng: random.Random) -> Iterator[float]:
    """Random times, one from each of as many equal parts of how long a command takes."""
    for place in range(count):
        yield seconds * (place + rng.random()) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--terms", type=int, default=5)
    parser.add_argument("--commands", nargs="+", default=["train", "load", "fill", "evaluate"])
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "kills.json")
    args = parser.parse_args()
    begin, rng, console = time.perf_counter(), random.Random(args.seed), Console()
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        make_world(place / "world", args.rows)
        known = works(place)
        train = known["train"]
        status, _, errors = call(train, place)
        assert status == 0, errors
        for name in args.commands:
            work = known[name]
            work.prepare(place / "whole")
            status, seconds, errors = call(work, place / "whole")
            assert status == 0, errors
            wanted = work.results(place / "whole")
            shutil.rmtree(place / "whole")
            found[name] = []
            for number, count in ((signal.SIGKILL, args.kills), (signal.SIGTERM, args.terms)):
                for moment in moments(count, seconds, rng):
                    found[name].append(disturbed(work, place / "disturbed", number, moment, wanted))
                    for line in found[name][-1]["wrong"]:
                        console.print(f"{name}, {found[name][-1]['signal']} after {moment:.2f} s: {line}", markup=False)
    table = Table("command", "SIGKILL", "SIGTERM", "ended before", "wrong", title="Disturbed, and called again")
    summary = {}
    for name, trials in found.items():
        summary[name] = {
            "kills": sum(trial["signal"] == "SIGKILL" for trial in trials),
            "terms": sum(trial["signal"] == "SIGTERM" for trial in trials),
            "ended_before": sum(trial["status"] == 0 for trial in trials),
            "wrong": sum(bool(trial["wrong"]) for trial in trials),
        }
        table.add_row(name, *(str(value) for value in summary[name].values()))
    console.print(table)
    told = {name: [list(trial.values()) for trial in trials] for name, trials in found.items()}
    result = {"results": summary, "wrong": sum(each["wrong"] for each in summary.values()), "trials": told}
    save(about(time.perf_counter() - begin, seed=args.seed) | result, args.output)
    sys.exit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
