"""All benchmarks, one after the other, of one version.

    python benchmarks/all.py [--only NAME ...] [--again] [--list]

In the order of the page, each by its own command in a process of its own. One whose result is of this commit already
is passed over, so that a call that was stopped goes on; the page docs/benchmarks.md is written at the end. Nothing else
may run on the machine: each result says what share of it others used. Some need Debian's or PyPI's packages; one that
fails is named at the end, and the others are run all the same.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from record import RESULTS, commit
from sections import SECTIONS

ROOT = RESULTS.parents[1]


def is_of(version: str | None, name: str) -> bool:
    """Whether the result of a benchmark is of a version, without changes to it."""
    file = RESULTS / f"{name}.json"
    known = json.loads(file.read_text(encoding="utf-8")).get("commit") if file.is_file() else None
    return known is not None and known == version and not known.endswith("+")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="NAME")
    parser.add_argument("--again", action="store_true", help="measure again what is of this commit already")
    parser.add_argument("--list", action="store_true", help="print what would be run")
    arguments = parser.parse_args()
    version, failed = commit(), []
    wanted = [name for name in arguments.only if arguments.again or not is_of(version, name)]
    commands = dict.fromkeys(SECTIONS[name].command for name in wanted)  # one command may make several results
    for command in commands:
        print(f"-- {command}", flush=True)
        if arguments.list:
            continue
        began = time.monotonic()
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        done = subprocess.run(command, shell=True, cwd=ROOT, env={**os.environ, "PATH": path})
        print(f"-- {(time.monotonic() - began) / 60:.1f} minutes, status {done.returncode}", flush=True)
        failed += [command] if done.returncode else []
    if not arguments.list:
        subprocess.run([sys.executable, str(ROOT / "benchmarks" / "document.py")], check=True)
    for command in failed:
        print(f"failed: {command}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
