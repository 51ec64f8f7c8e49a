"""Coherence and variety against minutes: the flagship beside itself with pictures as one token of a learned latent.

    python benchmarks/curves.py [--minutes 2 4 8 16] [--ways any-to-any latent] [--rows 400] [--samples 1000]

``latent`` is `any-to-any` with the parts that its small pictures had before: a codec that learns in the run's own
minutes, and a transformer over one token of its latent. Each point is a run of its own, of that many minutes of the
processor's time, as a schedule that ends is worth more than what stands half-way. Coherence is the mean of
`flagship.py`'s six directions, on held-out rows of `fashion`; recall and the Fréchet distance over its floor are of
pictures from held-out captions.

A run that is there is not trained again. Prints a table, writes benchmarks/results/curves.json, and draws
docs/images/coherence-against-minutes.png.
"""

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

import polymodal as pm
from fashion_scores import DIRECTIONS, Fashion, Ours, Results, everything, first
from flagship import Pictures
from polymodal import checkpoint as checkpoints
from record import RESULTS

WAYS: dict[str, dict[str, Any]] = {
    "any-to-any": {},
    "latent": {"defaults.image.small": None, "from_scratch": ["image"]},
}
SHOWN = {"coherence": "coherence", "recall": "recall", "frechet_over_floor": "Fréchet distance over its floor"}


def draw(ways: dict[str, Any], file: Path) -> None:
    """Each figure against the minutes, a line for each way."""
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    axes, ticks = figure.subplots(1, len(SHOWN)), sorted({float(at) for points in ways.values() for at in points})
    for axis, (name, label) in zip(axes, SHOWN.items(), strict=True):
        for way, points in ways.items():
            minutes = sorted(points, key=float)
            axis.plot([float(at) for at in minutes], [points[at][name] for at in minutes], marker="o", label=way)
        axis.set(xlabel="minutes of the processor", ylabel=label, xscale="log", ylim=(0, None))
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
    axes[0].legend()
    figure.savefig(file, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", nargs="+", type=float, default=[2.0, 4.0, 8.0, 16.0])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--rows", type=int, default=400, help="held-out rows of the directions")
    parser.add_argument("--samples", type=int, default=1000, help="pictures from captions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-train", action="store_true", help="and score when called again")
    parser.add_argument("--folder", type=Path, default=Path("runs/flagship"))
    parser.add_argument("--classifier", type=Path, default=Path("runs/families/classifier"))
    parser.add_argument("--output", type=Path, default=RESULTS / "curves.json")
    parser.add_argument(
        "--picture", type=Path, default=RESULTS.parent.parent / "docs/images/coherence-against-minutes.png"
    )
    arguments = parser.parse_args()
    fashion, models = Fashion(arguments.classifier), {}
    for way in arguments.ways:
        for minutes in arguments.minutes:
            run = (
                arguments.folder
                / f"{'' if way == 'any-to-any' else f'{way}-'}seed-{arguments.seed}-minutes-{minutes:g}"
            )
            budget = {"train.minutes": minutes, "train.clock": "processor", "train.seed": arguments.seed}
            models[way, minutes] = run, pm.fit("any-to-any", fashion.data, run=run, set=budget | WAYS[way])
    if arguments.only_train:
        return
    results = Results(arguments.output, rows=arguments.rows, samples=arguments.samples, seed=arguments.seed)
    judge, rows = Pictures(fashion, arguments.samples), first(fashion.data.test, arguments.rows)
    captions = everything(first(fashion.data.test, arguments.samples).only("caption"))
    for (way, minutes), (run, model) in models.items():
        make = Ours(model, arguments.seed)
        directions = fashion.coherence(make, rows, DIRECTIONS)
        score = judge.score(make(captions, ["picture"], arguments.samples)["picture"])
        saved = checkpoints.newest(run)
        point = {"steps": saved.step if saved else 0, "coherence": fmean(directions.values())}
        point |= {name: score[name] for name in SHOWN if name in score} | directions
        results.keep(point, "ways", way, f"{minutes:g}")
        print(
            way, f"{minutes:g} minutes:", ", ".join(f"{name} {value:.3g}" for name, value in point.items()), flush=True
        )
    draw(results.tree["ways"], arguments.picture)


if __name__ == "__main__":
    main()
