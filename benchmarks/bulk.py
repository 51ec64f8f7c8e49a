"""Large tables: how they are opened, planned and filled in bulk.

    python benchmarks/bulk.py [--rows 1000000] [--parts load plan fill kills]

Times are of the processor, as machines are shared, each in a process of its own. ``load`` opens a table of text, label
and vector for the first and the second time, and reads it by ``datasets``, every row decoded. ``plan`` plans a hundred
times as many rows. ``fill`` fills one table here and by actors of Ray. ``kills`` kills workers and drivers of Ray, and
its head, at random.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet

from record import RESULTS, about, save

WORDS = np.array(["red", "green", "disc", "square", "small", "large", "bright", "dark", "old", "new"])
FIELDS = {
    "caption": {"modality": "text", "max_length": 48},
    "kind": {"modality": "label"},
    "place": {"modality": "vector", "size": 4},
}
RECIPE = {
    "fields": FIELDS,
    "width": 32,
    "data": {"test": 0.1, "validation": 0.1},
    "train": {"steps": 20, "batch_size": 16},
}
PARTS = ("load", "plan", "fill", "kills")
RAY = {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def write_table(path: Path, rows: int, gaps: float = 0.1, seed: int = 0) -> None:
    """Captions, most of them distinct, labels and vectors; some cells are missing."""
    draw = np.random.default_rng(seed)
    words, numbers = WORDS[draw.integers(0, 10, (rows, 4))], draw.integers(0, 10**6, rows)
    caption = [f"{' '.join(row)} {number}" for row, number in zip(words.tolist(), numbers.tolist(), strict=True)]
    ends = pa.array(np.arange(0, 4 * rows + 1, 4, dtype=np.int32))
    place = pa.ListArray.from_arrays(ends, pa.array(draw.normal(size=4 * rows).astype(np.float32)))
    columns = {"caption": pa.array(caption), "kind": pa.array(WORDS[draw.integers(0, 10, rows)]), "place": place}
    gone = draw.random((3, rows)) < gaps
    cells = [
        pa.compute.if_else(pa.array(gap), None, column) for gap, column in zip(gone, columns.values(), strict=True)
    ]
    pa.parquet.write_table(pa.table(dict(zip(columns, cells, strict=True))), path, row_group_size=65_536)


def measured(code: str, *words: Any, cache: Path | None = None) -> dict[str, float]:
    """What a process of its own prints as JSON."""
    environment = os.environ | ({"POLYMODAL_CACHE": str(cache)} if cache else {})
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(ran.stdout.splitlines()[-1])


LOAD = """
import json, resource, sys, time
import polymodal as pm
from polymodal.data.load import load
import polymodal.modalities
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
lines = lambda: open("/proc/self/smaps_rollup").read().splitlines()
private = lambda: sum(int(line.split()[1]) for line in lines() if line.startswith("Private_Dirty")) * 1024
fields = json.loads(sys.argv[2])
began, before, dirty = time.process_time(), peak(), private()
data = load(sys.argv[1], fields)
seconds = time.process_time() - began
rows = sum(map(len, data.splits.values()))
print(json.dumps({"seconds": seconds, "rows": rows, "bytes_a_row": (private() - dirty) / rows,
    "peak_bytes_a_row": (peak() - before) / rows}))
"""
DATASETS = """
import json, sys, time
import datasets
datasets.disable_progress_bars()
began = time.process_time()
rows = datasets.Dataset.from_parquet(sys.argv[1], cache_dir=sys.argv[2])
reading = time.process_time() - began
for row in rows:
    pass
print(json.dumps({"reading": reading, "seconds": time.process_time() - began}))
"""
PLAN = """
import json, resource, sys, time
from polymodal.bulk import make_plan
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, began = peak(), time.process_time()
plan = make_plan(sys.argv[1])
print(json.dumps({"rows": plan.rows, "groups": len(plan), "mebibytes": peak() - before,
    "seconds": time.process_time() - began}))
"""
FILL = """
import json, sys, time
import psutil
import polymodal as pm
run, tables, output, bulk = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
if bulk.get("engine") == "ray":
    import ray
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
pm.open(run).fill(tables, output, compare=False, bulk=bulk)
own = psutil.Process()
works, ray_alone = 0.0, 0.0
for process in [own, *own.children(recursive=True)]:
    spent = sum(process.cpu_times()[:4])  # with that of children that have ended
    if process == own or "MapBatches" in process.name() + "".join(process.cmdline()):
        works += spent
    else:
        ray_alone += spent
print(json.dumps({"works": works, "ray": ray_alone}))
"""


def of_load(folder: Path, rows: int) -> dict[str, Any]:
    """First and second load, against ``datasets``."""
    write_table(folder / "rows.parquet", rows)
    time.sleep(2.5)  # files that have just been written are not known again by their times
    words = (folder / "rows.parquet", json.dumps(FIELDS))
    first, second = (measured(LOAD, *words, cache=folder / "cache") for _ in range(2))
    peer = measured(DATASETS, folder / "rows.parquet", folder / "datasets")
    return {"first": first, "second": second, "datasets, every row": peer}


def of_plan(folder: Path, rows: int) -> dict[str, dict[str, float]]:
    """Plans of one file and of a hundred; a column in which nothing is written takes no bytes to speak of."""
    (folder / "one").mkdir()
    pa.parquet.write_table(pa.table({"n": pa.nulls(rows, pa.int8())}), folder / "one" / "0.parquet")
    shutil.copytree(folder / "one", folder / "hundred")
    for place in range(1, 100):
        os.link(folder / "hundred" / "0.parquet", folder / "hundred" / f"{place}.parquet")
    return {f"{name} file" + "s" * (name == "hundred"): measured(PLAN, folder / name) for name in ("one", "hundred")}


def trained(folder: Path) -> Path:
    """A small run."""
    write_table(folder / "train.parquet", 300)
    (folder / "recipe.yaml").write_text(json.dumps(RECIPE))
    command = ["train", str(folder / "recipe.yaml"), "--data", str(folder / "train.parquet"), "-o", str(folder / "run")]
    subprocess.run([sys.executable, "-m", "polymodal", *command], check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


def digests(folder: Path) -> dict[str, str]:
    """Of all files."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def of_fill(folder: Path, run: Path, rows: int) -> dict[str, Any]:
    """Processor time of all processes, here and on Ray, for a table and for a fifth of it.

    The difference is what the rows cost; the rest is what starting costs: of Ray, a cluster and actors that load torch.
    Ray's own processes, which are neither the one that fills nor an actor, take a share of a core as long as they
    live, whatever is done: what they add to a row is the more, the longer others keep the actors from their work.
    """
    found: dict[str, Any] = {}
    for name, bulk in {"local": {}, "ray, 2 actors": {"engine": "ray", "workers": 2}}.items():
        spent = {}
        for count in (rows // 5, rows):
            tables, output = folder / f"tables-{count}", folder / f"{name}-{count}"
            if not tables.exists():
                tables.mkdir()
                write_table(tables / "0.parquet", count, gaps=0.3)
            spent[count] = measured(FILL, run, tables, output, json.dumps({"group_rows": 256} | bulk))
        seconds, small = spent[rows], spent[rows // 5]
        a_row = {kind: 1000 * (seconds[kind] - small[kind]) / (rows - rows // 5) for kind in seconds}
        found[name] = {
            "rows": rows,
            "seconds": sum(seconds.values()),
            "seconds to begin": sum(seconds.values()) - rows * sum(a_row.values()) / 1000,
            "milliseconds a row": sum(a_row.values()),
            "of which Ray's own processes": a_row["ray"],
            "same bytes": digests(output) == digests(folder / f"local-{rows}"),
        }
    here, there = found["local"], found["ray, 2 actors"]
    found["ray over local"] = {
        "in all": there["seconds"] / here["seconds"],
        "a row": there["milliseconds a row"] / here["milliseconds a row"],
        "a row, without Ray's own processes": (there["milliseconds a row"] - there["of which Ray's own processes"])
        / here["milliseconds a row"],
    }
    return found


def of_kills(folder: Path, run: Path, trials: int) -> dict[str, dict[str, Any]]:
    """Workers and drivers are killed at random; what is left must be what an undisturbed process leaves."""
    tables = folder / "killed"
    tables.mkdir()
    write_table(tables / "0.parquet", 4096, gaps=0.3)
    whole = folder / "whole"
    measured(FILL, run, tables, whole, json.dumps({"group_rows": 256}))
    dice, found = random.Random(0), {}
    for trial in range(trials):
        victim = ("worker", "driver", "head")[trial % 3]
        output = folder / f"killed-{trial}"
        bulk = {"group_rows": 256, "engine": "ray", "workers": 2 + 2 * (trial % 2)}
        command = [sys.executable, "-c", FILL, str(run), str(tables), str(output), json.dumps(bulk)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while not list(output.glob(".fill/notes/*")) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(dice.uniform(0, 1))
        kill(process, output, victim)
        status = process.wait()
        noted = len(list(output.glob(".fill/notes/part-*")))
        if victim == "worker":
            assert status == 0, f"trial {trial}: status {status}"
        else:
            measured(FILL, run, tables, output, json.dumps(bulk | {"engine": "local"}))
        same = digests(output) == digests(whole)
        found[f"trial {trial + 1}"] = {
            "killed": victim,
            "actors": bulk["workers"],
            "groups done before": noted,
            "same bytes": same,
        }
    return found


def kill(process: subprocess.Popen, output: Path, victim: str) -> None:
    """SIGKILL of a worker that holds a lease, of the driver, or of Ray's head."""
    if victim == "driver":
        process.kill()
    elif victim == "head":
        for child in psutil.Process(process.pid).children(recursive=True):
            if "gcs_server" in child.name():
                child.kill()
    else:
        for lease in output.glob(".fill/leases/part-*"):
            if words := lease.read_text().split():
                os.kill(int(words[1]), signal.SIGKILL)
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--filled", type=int, default=40_000, help="rows of the table that is filled")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "bulk.json")
    args = parser.parse_args()
    began = time.perf_counter()
    os.environ |= RAY
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    older = json.loads(args.output.read_text()) if args.output.exists() else {}
    found: dict[str, Any] = {part: older[part] for part in PARTS if part in older}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = trained(folder) if {"fill", "kills"} & {*args.parts} else folder
        for part in args.parts:
            found[part] = {
                "load": lambda: of_load(folder, args.rows),
                "plan": lambda: of_plan(folder, args.rows),
                "fill": lambda: of_fill(folder, run, args.filled),
                "kills": lambda: of_kills(folder, run, args.kills),
            }[part]()
            print(json.dumps({part: found[part]}, indent=1))
            save(about(time.perf_counter() - began, seed=0, peer="datasets") | found, args.output)


if __name__ == "__main__":
    main()
