"""What balancing mends on the data set `fashion`: one modality 10 x rarer, and one 10 x larger in loss scale.

    python benchmarks/imbalance.py [--steps 1200] [--settings balanced fixed ...]

Pictures, captions and labels learn to generate each other. In the balanced case every row has all three and losses
have the scales that their heads give them. Else only one row in ten has a caption, and the pictures' loss is 10 x as
large. Every setting has the same number of steps, of rows a step, and the same seed, on one thread.

Coherence is the share of what is generated from one field of a held-out row whose class is that row's, as a classifier
of real pictures sees it in pictures and as the words say it in captions; then the mean of all six directions. Bars: the
best setting is within 3 points of the balanced case, and fixed weights are clearly worse.

A run that is there is not trained again, and one that was stopped goes on. Prints a table and writes
benchmarks/results/imbalance.json. `fashion` needs Debian's package `dataset-fashion-mnist` or the hub.
"""

import argparse
import dataclasses
import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import polymodal as pm
from classifier import Classifier
from polymodal.data import Data, Rows
from polymodal.data.fashion import FIELDS, class_of
from polymodal.generation import generate_rows, write
from polymodal.nn.random import make_keys
from polymodal.types import Field
from record import RESULTS, machine, save

NAMES = ("picture", "caption", "label")
RARE, LOUD, FACTOR = "caption", "picture", 10

RECIPE: dict[str, Any] = {
    "width": 64,
    "fields": {
        "picture": {
            **FIELDS["picture"],
            "encoder": {"kind": "picture", "channels": 16, "stages": 3, "depth": 0, "augment": 0.3},
            "head": {"kind": "vae", "latent": 16, "hidden_size": 192, "channels": [32], "patch": 4, "blocks": 0,
                     "temperature": 0.8},
        },
        "caption": {
            **FIELDS["caption"],
            "encoder": {"kind": "sequence", "depth": 1},
            "head": {"kind": "autoregressive", "depth": 1},
        },
        "label": {
            **FIELDS["label"],
            "encoder": {"kind": "sequence", "depth": 0},
            "head": {"kind": "autoregressive", "depth": 1},
        },
    },
    "fusion": {"kind": "attention", "depth": 1},
    "tasks": {"none": 0.0, "one": 1.0, "some": 0.0},
    "train": {"batch_size": 64, "learning_rate": 2e-3, "validate_every": 10.0},
}  # fmt: skip

SETTINGS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "uncertainty": {"train.balance": {"kind": "uncertainty"}},
    "dwa": {"train.balance": {"kind": "dwa"}},
    "gradnorm": {"train.balance": {"kind": "gradnorm"}},
    "gradient-share": {"train.balance": {"kind": "gradient-share"}},
    "scarcity": {"tasks.sampling": "scarcity"},
    "gradient-share, scarcity": {"train.balance": {"kind": "gradient-share"}, "tasks.sampling": "scarcity"},
    "uncertainty, scarcity": {"train.balance": {"kind": "uncertainty"}, "tasks.sampling": "scarcity"},
    "progress": {"tasks.sampling": "progress"},
    "adapted rates": {"train.adapt_rates": True},
}
"""Of the imbalanced case. ``balanced`` comes before them."""


def rarer(rows: Rows) -> Rows:
    """The rows, of which only every tenth keeps the rare field."""
    return rows.without(RARE, np.arange(len(rows)) % FACTOR != 0)


def coherence(model: pm.Generator, rows: Rows, classifier: Classifier, seed: int) -> dict[str, float]:
    """By direction, such as ``caption -> picture``."""
    batch = rows.decode(rows.batch(torch.arange(len(rows))))
    everywhere, keys, truth = torch.ones(len(rows), dtype=torch.bool), make_keys(seed, len(rows)), rows.column("label")
    scores = {}
    for given, to in permutations(NAMES, 2):
        made = generate_rows(model.model, {given: batch[given]}, {given: everywhere}, {to: everywhere}, keys)[to]
        found = classes(model, to, made, classifier)
        scores[f"{given} -> {to}"] = sum(a == b for a, b in zip(found, truth, strict=True)) / len(truth)
    return scores


def classes(model: pm.Generator, name: str, made: Field, classifier: Classifier) -> list[Any]:
    """What is seen in, or said by, generated values."""
    if name == "picture":
        return classifier.predict(made)
    written = write(model.fields[name], made)
    return [class_of(caption) for caption in written] if name == "caption" else written


def run(name: str, data: Data, settings: dict[str, Any], arguments: argparse.Namespace) -> pm.Generator:
    """The trained generator of a setting."""
    folder = arguments.folder / name.replace(", ", "-").replace(" ", "-")
    chosen = {"train.seed": arguments.seed, "train.steps": arguments.steps, **settings}
    return pm.fit(RECIPE, data, run=folder, set=chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--settings", nargs="+", choices=["balanced", *SETTINGS], default=["balanced", *SETTINGS])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/imbalance"))
    parser.add_argument("--classifier", type=Path, default=Path("runs/families/classifier"))
    parser.add_argument("--output", type=Path, default=RESULTS / "imbalance.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    whole = pm.load("fashion", fields={name: FIELDS[name] for name in NAMES})
    classifier = Classifier.train(whole.train, whole.test, epochs=8, folder=arguments.classifier)
    rows = whole.test.select(torch.arange(min(arguments.samples, len(whole.test))))
    scarce = dataclasses.replace(whole, train=rarer(whole.train))
    loud = {f"fields.{LOUD}.weight": float(FACTOR)}

    results: dict[str, Any] = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    results |= {"steps": arguments.steps, "seed": arguments.seed, "samples": len(rows)}
    results["machine"] = machine()
    results.setdefault("settings", {})
    for name in arguments.settings:
        balanced = name == "balanced"
        model = run(name, whole if balanced else scarce, {} if balanced else loud | SETTINGS[name], arguments)
        scores = coherence(model, rows, classifier, arguments.seed)
        results["settings"][name] = {"mean": sum(scores.values()) / len(scores), **scores}
        save(results, arguments.output)

    directions = [f"{a} -> {b}" for a, b in permutations(NAMES, 2)]
    title = f"Coherence; {arguments.steps} steps; captions {FACTOR} x rarer, the pictures' loss {FACTOR} x as large"
    table = Table("setting", "mean", "beside balanced", *directions, title=title)
    base = results["settings"].get("balanced", {}).get("mean", float("nan"))
    for name, scores in results["settings"].items():
        table.add_row(
            name, f"{scores['mean']:.1%}", f"{100 * (scores['mean'] - base):+.1f}",
            *(f"{scores[direction]:.1%}" for direction in directions),
        )  # fmt: skip
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
