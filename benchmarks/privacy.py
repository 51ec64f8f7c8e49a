"""How well an attack finds the rows that a model learned from: one that overfits 200, and one that learned from all.

    python benchmarks/privacy.py [--seconds 60] [--folder runs/privacy]

Two models of one recipe and one time budget learn pictures, captions and labels of `fashion`: the first from 200 rows,
over and over, the second from 12,000. Each is attacked with 200 of its own training rows and 200
validation rows, which are of the same official split. The bar is
the area under the ROC curve of the strongest attack on the first: above 0.8. The second's is reported.

A run that is there is not trained again. Prints a table and writes benchmarks/results/privacy.json. `fashion` needs
Debian's package `dataset-fashion-mnist` or the hub.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

import polymodal as pm
from polymodal.data.fashion import FIELDS
from polymodal.evaluation.privacy.audit import BLIND
from record import RESULTS, about, save

BAR = 0.8
ROWS = {"200 rows": 200, "all rows": 12_000}
RECIPE: dict[str, Any] = {
    "width": 64,
    "fields": {
        "picture": FIELDS["picture"]
        | {
            "encoder": {"kind": "picture", "channels": 16, "stages": 3, "depth": 0, "augment": 0.0},
            "head": {"kind": "flow", "depth": 2, "patch": 7, "predict": "data", "repeats": 2, "steps": 4},
        },
        "caption": FIELDS["caption"]
        | {"encoder": {"kind": "sequence", "depth": 1}, "head": {"kind": "autoregressive", "depth": 1}},
        "label": FIELDS["label"]
        | {"encoder": {"kind": "sequence", "depth": 0}, "head": {"kind": "autoregressive", "depth": 1}},
    },
    "fusion": {"kind": "attention", "depth": 1},
    "tasks": {"none": 0.1, "one": 0.5, "some": 0.4},
    "train": {"batch_size": 32, "learning_rate": 2e-3, "log_every": 100},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each model's training")
    parser.add_argument("--folder", type=Path, default=Path("runs/privacy"))
    parser.add_argument("--output", type=Path, default=RESULTS / "privacy.json")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)

    data = pm.load("fashion:train=12000", {name: FIELDS[name] for name in RECIPE["fields"]})
    results, strongest = {}, {}
    for name, count in ROWS.items():
        folder = arguments.folder / name.replace(" ", "-")
        rows = data.train.select(np.random.default_rng(0).permutation(len(data.train))[:count])
        part = dataclasses.replace(data, train=rows)
        model = pm.fit(RECIPE, part, run=folder, minutes=arguments.seconds / 60)
        audit = model.audit(rows, data.validation)
        Console().print(name, *audit.tables())
        results[name] = {
            "attacks": [dataclasses.asdict(one) | {"curve": None} for one in audit.attacks],
            "leaks": [dataclasses.asdict(one) | {"leaks": one.leaks} for one in audit.leaks],
        }
        strongest[name] = max((one for one in audit.attacks if one.name != BLIND), key=lambda one: one.auc)
    for name, one in strongest.items():
        print(f"{name}: AUC {one.auc:.3f} ({one.low:.3f} to {one.high:.3f}), {one.field}, {one.name}; bar {BAR}")
    record = {"results": results, "bar": BAR, "seconds": arguments.seconds, "rows": ROWS}
    save(about(time.perf_counter() - begin, seed=0) | record, arguments.output)


if __name__ == "__main__":
    main()
