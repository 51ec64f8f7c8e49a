"""Learning from tables with missing cells: coherence by the share of cells that are missing, beside MultiVae's.

    pip install --no-deps --target runs/multivae multivae pythae
    python benchmarks/missing.py --multivae runs/multivae [--minutes 10] [--shares 0 0.3 0.5 0.7] [--seeds 0 1 2]

Pictures, captions and speech of `fashion`. Each cell of the training rows is missing with the same probability, by a
draw of its own that knows nothing of what is in the cell; a cell that is missing at 30 % is so at 50 %, too. Rows
without any cell are left out, as ``polymodal.load`` does. Ours is the recipe `any-to-any`, which draws rows as they
come (``fixed``), or those with more fields more often (``tasks.sampling: pairs``): complete rows are all alike to it.
Theirs is MoPoE with as many parameters, which is told by masks what is there. All have the same minutes and rows;
MultiVae's learning rate is the better of two on complete data, by rows for validation. A seed is that of weights, of
what is missing and of the samples; MultiVae has the first one only.

Coherence is the share of what is generated from one field of a complete held-out row whose class is that row's; then
the mean of all six directions, and the mean over seeds. Bar: with half of the cells missing, `any-to-any` is within 5
points of complete data.

A run that is there is not trained again, and one that was scored not scored again; ours, if it was stopped, goes on.
Prints a table and writes benchmarks/results/missing.json. `fashion` needs Debian's package `dataset-fashion-mnist` or
the hub.
"""

import dataclasses
import math
from statistics import fmean

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import multivae_peer as peers
from fashion_scores import (
    DIRECTIONS,
    MODALITIES,
    Fashion,
    Maker,
    Ours,
    Results,
    command,
    first,
    fit,
    mean,
    run_folder,
)
from multivae_peer import Peer, size
from polymodal.data import Rows


def incomplete(rows: Rows, missing: float, seed: int) -> Rows:
    """The rows without a share of their cells, and without those of which nothing is left."""
    if not missing:
        return rows
    random = np.random.default_rng(seed)
    for name in MODALITIES:
        rows = rows.without(name, random.random(len(rows)) < missing)
    return rows.select(np.any([rows.present[name] for name in MODALITIES], axis=0))


def main() -> None:
    parser = command(__doc__, "missing.json")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.3, 0.5, 0.7], help="of missing cells")
    parser.add_argument("--sampling", nargs="+", choices=["fixed", "pairs"], default=["fixed", "pairs"], help="ours")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fashion = Fashion(arguments.classifier)
    rows, minutes, runs = first(fashion.data.test, arguments.samples), arguments.minutes, arguments.folder
    results = Results(arguments.output, minutes=minutes, samples=len(rows))

    def score(library: str, missing: float, seed: int, make: Maker) -> None:
        place = (library, f"{missing:.0%}")
        known = results.tree.get(library, {}).get(place[1], {})
        if arguments.only_train or f"seed {seed}" in known:
            return
        scores = fashion.coherence(make, rows)
        results.keep({"conditional": mean(scores), **scores}, *place, f"seed {seed}")
        seeds = [found for name, found in results.tree[library][place[1]].items() if name != "mean"]
        results.keep({name: fmean(found[name] for found in seeds) for name in seeds[0]}, *place, "mean")

    for seed in arguments.seeds:
        for missing in arguments.shares:
            train = incomplete(fashion.data.train, missing, seed)
            data = dataclasses.replace(fashion.data, train=train)
            for sampling in arguments.sampling if missing else ("fixed",):  # complete rows are all alike
                name = "any-to-any" if sampling == "fixed" else f"any-to-any-{sampling}"
                run = run_folder(runs, name, missing, seed)
                model = fit(data, run, minutes=minutes, seed=seed, **{"tasks.sampling": sampling})
                score(f"polymodal, {sampling}", missing, seed, Ours(model, seed))
            if arguments.multivae and seed == arguments.seeds[0]:
                peers.install(arguments.multivae)
                parameters = size(model.model)
                rate = peers.best_rate("MoPoE", fashion, parameters, runs, minutes=minutes, seed=seed)
                peer = Peer("MoPoE", fashion.data, parameters, seed)
                peer.train(train, runs, missing, minutes=minutes, learning_rate=rate)
                score("multivae", missing, seed, peer)

    title = f"Coherence by the share of missing cells; {minutes:g} minutes each, {len(rows):,} held-out rows"
    table = Table("library", "missing", "mean", "beside complete", *DIRECTIONS, title=title)
    for library in ("polymodal, fixed", "polymodal, pairs", "multivae"):
        complete = results.tree.get("multivae" if library == "multivae" else "polymodal, fixed", {}).get("0%")
        for missing, found in sorted(results.tree.get(library, {}).items()):
            scores = found["mean"]
            behind = scores["conditional"] - complete["mean"]["conditional"] if complete else math.nan
            shown = (f"{scores[name]:.1%}" for name in ("conditional", *DIRECTIONS))
            table.add_row(library, missing, next(shown), f"{100 * behind:+.1f}", *shown)
    Console().print(table)


if __name__ == "__main__":
    main()
