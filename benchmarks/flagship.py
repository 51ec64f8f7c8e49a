"""The flagship on `fashion`, all three fields: one model that agrees, and whose pictures are sharp and varied.

    python benchmarks/flagship.py [--minutes 16] [--seeds 0 1] [--samples 5000] [--parts directions pictures joint]

The recipe `any-to-any` unchanged, for minutes of the processor's time: 16 are eight by the clock of two cores.

- ``directions``: of 1,000 held-out rows (every second one is spoken), how often what is made of one field from another
  is of the row's class, as a share of how often the judge finds it in the real values of these rows. The classifier has
  learned from real pictures, pocketsphinx hears speech, captions name their class; all are disjoint from the generator.
  What is made of a picture can hardly be more often right than the classifier is about that picture: ``share of
  seen`` is the share of that.
- ``pictures``: caption -> picture, held-out captions. Kernel distance over the spread of that of real sets as large;
  Fréchet distance over the floor, that of real pictures which the judge has not learned from; coverage and recall, and
  their share of what those same real pictures have. All in the classifier's features, beside real test pictures.
- ``joint``: from nothing, how often picture, caption and speech of a row are all of one class, and the effective number
  of classes; the same three measures of the pictures' variety.

A run that is there is not trained again, and one that was stopped goes on. Prints a table and writes
benchmarks/results/flagship.json. `fashion` needs Debian's package `dataset-fashion-mnist` or the hub.
"""

import argparse
import dataclasses
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import polymodal as pm
from fashion_scores import DIRECTIONS, MODALITIES, Fashion, Ours, Results, everything, first, share
from polymodal import checkpoint as checkpoints
from polymodal.data import Rows
from polymodal.evaluation.metrics import frechet_distance
from polymodal.types import Field
from record import RESULTS
from set_metrics import kernel_distance, neighbours

CHECKED = 1000
"""Rows of the directions, and samples from nothing that are heard."""


class Pictures:
    """Real pictures in the classifier's features, and how far other sets of as many lie from them.

    Args:
        fashion: Data and judges.
        count: Of the real test pictures, and of those that lie apart from them.
    """

    def __init__(self, fashion: Fashion, count: int):
        self.classifier = fashion.classifier
        self.real = self._features(first(fashion.data.test, count))
        unseen = self._features(first(fashion.unseen, count))
        self.floor = {"frechet": frechet_distance(self.real, unseen)} | dataclasses.asdict(
            neighbours(self.real, unseen)
        )
        both, halves = torch.cat([self.real, unseen]), []
        for seed in range(20):
            order = torch.randperm(len(both), generator=torch.Generator().manual_seed(seed))
            one, other = (both[part] for part in order.chunk(2))
            halves.append(kernel_distance(one, other, subsets=20, seed=seed))
        self.floor["kernel_spread"] = pstdev(halves)

    def _features(self, rows: Rows) -> Tensor:
        return self.classifier.features(everything(rows.only("picture"))["picture"])

    def score(self, made: Field) -> dict[str, float]:
        """Of pictures: distances, coverage and recall, and each beside that of real ones."""
        features = self.classifier.features(made)
        near, frechet = neighbours(self.real, features), frechet_distance(self.real, features)
        kernel = kernel_distance(self.real, features)
        return {
            "frechet": frechet,
            "frechet_over_floor": frechet / self.floor["frechet"],
            "kernel": kernel,
            "kernel_over_spread": kernel / self.floor["kernel_spread"],
            "recall": near.recall,
            "recall_share_of_real": near.recall / self.floor["recall"],
            "coverage": near.coverage,
            "coverage_share_of_real": near.coverage / self.floor["coverage"],
            "precision": near.precision,
        }


Scores = dict[str, Any]


def directions(fashion: Fashion, model: pm.Generator, seed: int, judge: Pictures, samples: int) -> Scores:
    """Each field from each other, as a share of what the judges find in real values."""
    rows = first(fashion.data.test, CHECKED)
    real = {}
    for name in MODALITIES:
        own = rows.select(torch.arange(0, len(rows), 2)) if name == "speech" else rows
        real[name] = share(fashion.classes(name, everything(own.only(name))[name]), own.column("label"))
    scores = fashion.coherence(Ours(model, seed), rows)
    shares = {direction: score / real[direction.split(" -> ")[1]] for direction, score in scores.items()}
    seen = {
        direction: score / real["picture"] for direction, score in scores.items() if direction.startswith("picture")
    }
    return {
        "real": real, "scores": scores, "share_of_real": shares, "share_of_seen": seen, "least": min(shares.values()),
    }  # fmt: skip


def pictures(fashion: Fashion, model: pm.Generator, seed: int, judge: Pictures, samples: int) -> Scores:
    """Caption -> picture as a set."""
    rows = first(fashion.data.test, samples)
    made = Ours(model, seed)(everything(rows.only("caption")), ["picture"], len(rows))["picture"]
    right = share(fashion.classes("picture", made), rows.column("label"))
    return judge.score(made) | {"right_class": right, "samples": len(rows)}


def joint(fashion: Fashion, model: pm.Generator, seed: int, judge: Pictures, samples: int) -> Scores:
    """All three fields from nothing."""
    made = Ours(model, seed)({}, MODALITIES, CHECKED)
    return fashion.agreement(made) | judge.score(made["picture"])


PARTS = {"directions": directions, "pictures": pictures, "joint": joint}


def table(results: Results) -> Table:
    """What was reached of each bar: the mean over the seeds."""
    seeds = list(results.tree.get("seeds", {}).values())
    minutes = results.tree["minutes"]
    title = f"any-to-any on fashion, {minutes:g} minutes of the processor, {len(seeds)} seeds"
    shown = Table("what", "reached", "bar", title=title, title_justify="left")

    def add(what: str, bar: str, part: str, *path: str) -> None:
        values = []
        for seed in seeds:
            value = seed.get(part)
            for name in path:
                value = value and value.get(name)
            if value is not None:
                values.append(value)
        if values:
            shown.add_row(what, f"{fmean(values):.3f}", bar)

    for direction in DIRECTIONS:
        add(f"{direction}, share of real", "at least 0.93", "directions", "share_of_real", direction)
        if direction.startswith("picture"):
            add(f"{direction}, share of seen", "", "directions", "share_of_seen", direction)
    for name, bar in (
        ("frechet_over_floor", "at most 8"), ("recall_share_of_real", ""), ("recall", "at least 0.6"),
        ("coverage_share_of_real", "at least 0.7"), ("kernel_over_spread", ""), ("right_class", ""),
    ):  # fmt: skip
        add(f"caption -> picture, {name.replace('_', ' ')}", bar, "pictures", name)
    add("from nothing, all three agree", "at least 0.85", "joint", "coherent")
    for name in ("classes", "recall", "coverage_share_of_real", "frechet_over_floor"):
        add(f"from nothing, {name.replace('_', ' ')}", "", "joint", name)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=16.0, help="of each training, of the processor's time")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--samples", type=int, default=5000, help="pictures from captions")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--only-train", action="store_true", help="and score when called again")
    parser.add_argument("--folder", type=Path, default=Path("runs/flagship"))
    parser.add_argument("--classifier", type=Path, default=Path("runs/families/classifier"))
    parser.add_argument("--output", type=Path, default=RESULTS / "flagship.json")
    arguments = parser.parse_args()
    fashion = Fashion(arguments.classifier)
    models, steps = {}, {}
    for seed in arguments.seeds:
        settings = {"train.minutes": arguments.minutes, "train.clock": "processor", "train.seed": seed}
        run = arguments.folder / f"seed-{seed}-minutes-{arguments.minutes:g}"
        models[seed] = pm.fit("any-to-any", fashion.data, run=run, set=settings)
        saved = checkpoints.newest(run)
        steps[seed] = saved.step if saved else 0
    if arguments.only_train:
        return
    how = "of one process's own time; two cores give 16 such minutes in 8 by the clock"
    results = Results(arguments.output, minutes=arguments.minutes, samples=arguments.samples, timed=how)
    judge = Pictures(fashion, arguments.samples)
    results.keep(judge.floor, "floor")
    for seed, model in models.items():
        results.keep(steps[seed], "seeds", str(seed), "steps")
        for part in arguments.parts:
            results.keep(PARTS[part](fashion, model, seed, judge, arguments.samples), "seeds", str(seed), part)
    Console().print(table(results))


if __name__ == "__main__":
    main()
