"""What is left of a training's steps beside other processes at full load.

    python benchmarks/busy.py [--seconds 60] [--processes 1] [--rounds 1]

Trains `any-to-any` on the data set ``emoji`` for the same time by the clock, as a user would: on the idle machine, then
beside processes that only count. A round has both. Bar: at least 40 % of the idle steps beside one process.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

import polymodal as pm
from record import RESULTS, about, save

DATA = "emoji:concepts=240"


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Other processes at full load."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def train(seconds: float, size: str) -> dict[str, float]:
    """Trains in a process of its own; its steps, and how late it ended by its own clock."""
    with tempfile.TemporaryDirectory() as folder:
        settings = (f"train.minutes={seconds / 60}", f"size={size}")
        options = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "polymodal", "train", "any-to-any", "--data", DATA, "-o", folder, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        newest = max((Path(folder) / "checkpoints").glob("step-*"))
        state = json.loads((newest / "trainer" / "state.json").read_text())
        parts = [json.loads(path.read_text()) for path in Path(folder).glob("*s/*/checkpoints/*/trainer/state.json")]
        spent = sum(each["seconds"] for each in [state, *parts]) + state["late"]
        return {"steps": state["step"], "seconds_late": spent - seconds, "validating": state["validating"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--size", default="small")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "busy.json")
    args = parser.parse_args()
    begin = time.perf_counter()
    pm.load(DATA, pm.infer_fields(DATA))  # so that neither has to decode
    found: dict[str, list[dict[str, float]]] = {"idle": [], "busy": []}
    for _ in range(args.rounds):
        for name, processes in (("idle", 0), ("busy", args.processes)):
            with load(processes):
                found[name].append(train(args.seconds, args.size))
    ratio = statistics.median(b["steps"] / i["steps"] for b, i in zip(found["busy"], found["idle"], strict=True))
    table = Table("machine", "steps", "seconds late", "seconds of validation", title=f"{args.seconds:g} seconds")
    middle = {
        name: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }
    for name, values in middle.items():
        table.add_row(name, f"{values['steps']:,.0f}", f"{values['seconds_late']:.1f}", f"{values['validating']:.1f}")
    table.add_row("busy / idle (bar 0.4)", f"{ratio:.2f}")
    Console().print(table)
    save(about(time.perf_counter() - begin) | {"ratio": ratio, "bar": 0.4, "results": middle}, args.output)


if __name__ == "__main__":
    main()
