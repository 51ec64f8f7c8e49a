"""Learning from tables with missing cells: coherence by the share of cells that are missing, beside MultiVae's.

    pip install --no-deps --target runs/multivae multivae pythae
    python benchmarks/missing.py --multivae runs/multivae [--minutes 10] [--shares 0 0.3 0.5 0.7]

Pictures, captions and speech of `fashion`. Each cell of the training rows is missing with the same probability, by a
draw of its own that knows nothing of what is in the cell; a cell that is missing at 30 % is so at 50 %, too. Rows
without any cell are left out, as ``polymodal.load`` does. Ours is the recipe `any-to-any`, which draws rows as they
come (``fixed``), or those with more fields more often (``tasks.sampling: pairs``): complete rows are all alike to it.
Theirs is MoPoE with as many parameters, which is told by masks what is there. All have the same minutes, seed and rows;
MultiVae's learning rate is the better of two on complete data, by rows for validation.

Coherence is the share of what is generated from one field of a complete held-out row whose class is that row's; then
the mean of all six directions. Bar: with half of the cells missing, `any-to-any` is within 5 points of complete data.

A run that is there is not trained again, and ours, if it was stopped, goes on. Prints a table and writes
benchmarks/results/missing.json. `fashion` needs Debian's package `dataset-fashion-mnist` or the hub.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import multivae_peer as peers
from fashion_scores import DIRECTIONS, MODALITIES, Fashion, Maker, Ours, Results, first, fit, mean
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--multivae", type=Path, help="folder of multivae and pythae; else ours alone")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.3, 0.5, 0.7], help="of missing cells")
    parser.add_argument("--sampling", nargs="+", choices=["fixed", "pairs"], default=["fixed", "pairs"], help="ours")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--samples", type=int, default=1000, help="held-out rows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-train", action="store_true", help="and score when called again")
    parser.add_argument("--folder", type=Path, default=Path("runs/missing"))
    parser.add_argument("--classifier", type=Path, default=Path("runs/families/classifier"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "missing.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fashion = Fashion(arguments.classifier)
    rows, seed, minutes = first(fashion.data.test, arguments.samples), arguments.seed, arguments.minutes
    results = Results(arguments.output, minutes=minutes, seed=seed, samples=len(rows))

    def score(library: str, missing: float, make: Maker) -> None:
        if not arguments.only_train:
            scores = fashion.coherence(make, rows)
            results.keep({"mean": mean(scores), **scores}, library, f"{missing:.0%}")

    for missing in arguments.shares:
        train = incomplete(fashion.data.train, missing, seed)
        data = dataclasses.replace(fashion.data, train=train)
        for sampling in arguments.sampling if missing else ("fixed",):  # complete rows are all alike
            kind = "" if sampling == "fixed" else f"-{sampling}"
            folder = arguments.folder / f"any-to-any{kind}-{missing:.0%}"
            model = fit(data, folder, minutes=minutes, seed=seed, **{"tasks.sampling": sampling})
            score(f"polymodal, {sampling}", missing, Ours(model, seed))
        if arguments.multivae:
            peers.install(arguments.multivae)
            rate = peers.best_rate("MoPoE", fashion, size(model.model), arguments.folder, minutes=minutes, seed=seed)
            peer = Peer("MoPoE", fashion.data, size(model.model), seed)
            peer.train(train, arguments.folder / f"mopoe-{rate:g}-{missing:.0%}", minutes=minutes, learning_rate=rate)
            score("multivae", missing, peer)

    title = f"Coherence by the share of missing cells; {minutes:g} minutes each, {len(rows):,} held-out rows"
    table = Table("library", "missing", "mean", "beside complete", *DIRECTIONS, title=title)
    complete = {library: results.tree.get(library, {}).get("0%") for library in ("polymodal, fixed", "multivae")}
    for library in ("polymodal, fixed", "polymodal, pairs", "multivae"):
        whole = complete.get(library, complete["polymodal, fixed"])
        for missing, scores in sorted(results.tree.get(library, {}).items()):
            beside = 100 * (scores["mean"] - whole["mean"]) if whole else float("nan")
            shown = (f"{scores[name]:.1%}" for name in ("mean", *DIRECTIONS))
            table.add_row(library, missing, next(shown), f"{beside:+.1f}", *shown)
    Console().print(table)


if __name__ == "__main__":
    main()
