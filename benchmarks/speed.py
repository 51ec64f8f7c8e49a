"""All that is timed, in one command: each benchmark in turn, each in a process of its own.

    pip install -e '.[bench]' && pip install --no-deps --target runs/multivae multivae==1.0.3 pythae==0.1.2
    python benchmarks/speed.py [--parts steps training sampler decoding audio pipeline] [--rounds 7]

Each benchmark alternates between the libraries, on one thread, and takes medians over the rounds of process CPU time.
It writes its own JSON, under benchmarks/results; this command prints every bar and what was reached.
A part whose peer is not installed is left out, and it is said how to install it.
"""

import argparse
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from record import RESULTS, figure
from sections import SECTIONS

BENCH = "pip install -e '.[bench]'"
PEERS = {"sampler": "diffusers", "decoding": "transformers", "audio": "librosa"}
PARTS = ("steps", "training", "sampler", "decoding", "audio", "pipeline")


def missing(part: str, multivae: Path) -> str | None:
    """How to install the peer of a part; None if it is there or none is needed."""
    if part == "steps":
        there = all((multivae / package).is_dir() for package in ("multivae", "pythae"))
        return None if there else f"pip install --no-deps --target {multivae} multivae==1.0.3 pythae==0.1.2"
    return None if part not in PEERS or find_spec(PEERS[part]) else BENCH


def measure(part: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs a benchmark; its bars and what was reached."""
    output = arguments.folder / f"{part}.json"
    command = [sys.executable, str(Path(__file__).with_name(f"{part}.py")), "--rounds", str(arguments.rounds)]
    command += ["--multivae", str(arguments.multivae)] if part == "steps" else []
    command += ["--output", str(output)] if arguments.folder != RESULTS else []
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return [{"part": part, **row} for row in SECTIONS[part].checked(json.loads(output.read_text(encoding="utf-8")))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--multivae", type=Path, default=Path("runs/multivae"), help="folder that it is installed in")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="of the parts' JSON")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for part in arguments.parts:
        if how := missing(part, arguments.multivae):
            left_out[part] = how
        else:
            results += measure(part, arguments)
    table = Table("part", "what", "wanted", "reached", "", title=f"Medians of {arguments.rounds} rounds, one thread")
    for row in results:
        verdict = "met" if row["met"] else "MISSED"
        table.add_row(row["part"], row["what"], row["wanted"], figure(row["reached"]), verdict)
    Console().print(table)
    for part, how in left_out.items():
        print(f"{part} is left out, as its peer is not installed: {how}")


if __name__ == "__main__":
    main()
