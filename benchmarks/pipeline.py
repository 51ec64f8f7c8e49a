"""The input pipeline after the first epoch: rows a second of 64 x 64 pictures and names, on one core.

    python benchmarks/pipeline.py [--rounds 7]

Batches are random, 256 rows of 20,000 with a distinct picture each, from the memory-mapped cache to values as a model
reads them. The bar is 20,000 rows/s by process CPU time, median over the rounds.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import polymodal as pm
from record import RESULTS, about, save

ROWS, BATCH, BATCHES, BAR = 20_000, 256, 40, 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS / "pipeline.json")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    console = Console()
    with tempfile.TemporaryDirectory() as cache:
        rows = [
            {"picture": random.integers(0, 256, (64, 64, 3), dtype=np.uint8), "name": f"picture number {i}"}
            for i in range(ROWS)
        ]
        fields = {"picture": pm.Image(size=64), "name": pm.Text(max_length=48)}
        start = time.perf_counter()
        train = pm.load(rows, fields, cache=cache, validation=0, test=0).train
        build = ROWS / (time.perf_counter() - start)
        train.batch(np.arange(len(train)))  # the first epoch: pages are in memory from here on
        measured = {
            "batch": lambda rows: train.batch(rows),
            "batch and decode": lambda rows: train.decode(train.batch(rows)),
        }
        rates: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(arguments.rounds):
            indices = [random.integers(0, len(train), BATCH) for _ in range(BATCHES)]
            for name, step in measured.items():
                start = time.process_time()
                for index in indices:
                    step(index)
                rates[name].append(BATCH * BATCHES / (time.process_time() - start))
    table = Table("step", "rows/s, median", "slowest", "fastest", "bar", title="Input pipeline, one core")
    for name, found in rates.items():
        numbers = (f"{np.median(found):,.0f}", f"{min(found):,.0f}", f"{max(found):,.0f}")
        table.add_row(name, *numbers, f"{BAR:,}" if name == "batch and decode" else "")
    table.add_row("build the cache (once, all cores)", f"{build:,.0f}", "", "", "")
    console.print(table)
    result = {
        "rows_per_second": {name: float(np.median(found)) for name, found in rates.items()},
        "build_rows_per_second": build,
        "bar": BAR,
        "rounds": arguments.rounds,
    }
    save(about(time.perf_counter() - begin, seed=0) | result, arguments.output)


if __name__ == "__main__":
    main()
