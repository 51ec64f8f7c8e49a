"""How well `fill` knows what it knows: expected calibration error on rows that nothing was learned from.

    python benchmarks/calibration.py [--minutes 4] [--cells 6000] [--folder runs/calibration]

A small model of pictures, captions and labels learns from 12,000 rows of `fashion`. Each row that is scored is given
some of its fields and asked for others, as rows of tables are that lack cells; a label or caption is right if it is the
row's own, a picture if a judge, trained on the real training rows, names its class. Calibrators are learned on the
validation rows, and the error is that of the test rows.

The error has 15 bins of equal mass. `floor` is the error that a perfect confidence with these very values would show on
as many cells, by chance alone. A run that is there is not trained again. Prints a table and writes
benchmarks/results/calibration.json.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import polymodal as pm
from polymodal.data.fashion import FIELDS
from polymodal.evaluation import Judge
from polymodal.evaluation.calibration import expected_calibration_error
from polymodal.evaluation.calibration.confidence import apply, fit
from polymodal.evaluation.calibration.scored_cells import collect
from record import RESULTS, about, save

BAR = 0.05
OPTIONS = {"picture": {"steps": 4}}
RECIPE = {
    "width": 96,
    "fields": {
        "picture": FIELDS["picture"]
        | {
            "encoder": {"kind": "picture", "stages": 3, "depth": 0, "augment": 0.2},
            "codec": {"kind": "kl", "latent": 32, "channels": [64], "patch": 7, "edge_weight": 0.3, "noise": 0.03},
            "head": {"kind": "flow", "hidden_size": 192, "depth": 2, "patch": 4, "predict": "data", "guidance": 2.0},
        },
        "caption": FIELDS["caption"] | {"head": {"kind": "autoregressive", "depth": 1}},
        "label": FIELDS["label"] | {"head": {"kind": "autoregressive", "depth": 1}},
    },
    "fusion": {"kind": "attention", "depth": 1},
    "tasks": {"none": 0.1, "one": 0.6, "some": 0.3},
    "train": {"batch_size": 64, "learning_rate": 2e-3, "codec_share": 0.15},
}


def floor(confidence: np.ndarray, draws: int = 200) -> float:
    """The mean error of cells that are right with just the probability that is told."""
    random = np.random.default_rng(0)
    outcomes = random.random((draws, len(confidence))) < confidence
    return float(np.mean([expected_calibration_error(confidence, right) for right in outcomes]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--cells", type=int, default=6000, help="times that a row is drawn, of each set of rows")
    parser.add_argument("--folder", type=Path, default=Path("runs/calibration"))
    parser.add_argument("--output", type=Path, default=RESULTS / "calibration.json")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)

    model = pm.fit(RECIPE, "fashion:train=12000", run=arguments.folder, minutes=arguments.minutes)
    data = model.data()
    judge = Judge.train(data.train, naming="label", steps=300, folder=arguments.folder / "judge")
    learned, scored = (
        collect(model.model, rows, judge=judge, cells=arguments.cells, seed=seed, options=OPTIONS)
        for seed, rows in enumerate((data.validation, data.test))
    )
    table = Table("field", "cells", "right", "before", "after", "floor", title=f"expected calibration error, bar {BAR}")
    results = []
    for name, cells in scored.items():
        confidence = apply(fit(learned[name]), cells.scores, cells.given)
        numbers = {
            "right": float(cells.right.mean()),
            "before": expected_calibration_error(np.nan_to_num(cells.scores[:, 0]), cells.right),
            "after": expected_calibration_error(confidence, cells.right),
            "floor": floor(confidence),
        }
        results.append({"field": name, "cells": len(cells.right), **numbers})
        table.add_row(name, f"{len(cells.right):,}", *(f"{value:.3f}" for value in numbers.values()))
    Console().print(table)
    record = {"results": results, "bar": BAR, "minutes": arguments.minutes, "options": OPTIONS}
    save(about(time.perf_counter() - begin, seed=0) | record, arguments.output)


if __name__ == "__main__":
    main()
