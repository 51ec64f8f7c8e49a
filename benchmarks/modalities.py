"""What single modalities reach: each part trains its recipes on its built-in data set and scores them on held-out rows.

    python benchmarks/modalities.py --parts moving [--minutes 10] [--seeds 0 1] [--folder runs/modalities]

- ``moving``: see moving_scores.py.
- ``presenter`` and ``mouth``: see presenter_scores.py.
- ``emoji-motion``: see motion_scores.py.

A run that is there is not trained again, and one that was stopped goes on. Prints the scores as they come and writes
benchmarks/results/modalities.json. The extra ``demo`` is needed; for `moving` Debian's package
`dataset-fashion-mnist` or the hub, for `presenter` the extras ``bench`` and ``video``, and for `emoji-motion` npm.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import motion_scores
import moving_scores
import presenter_scores
from fashion_scores import Results
from record import RESULTS

PARTS: dict[str, Callable[[argparse.Namespace, int, Results], None]] = {
    "moving": moving_scores.measure,
    "presenter": presenter_scores.measure,
    "mouth": presenter_scores.measure_mouth,
    "emoji-motion": motion_scores.measure,
}
"""By name: what trains and scores with a seed, and keeps each figure as it comes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--recipes", nargs="+", choices=moving_scores.RECIPES, default=moving_scores.RECIPES, help="of `moving`"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--steps", type=int, help="of each training, in place of minutes")
    parser.add_argument("--clock", choices=("wall", "processor"), default="processor", help="of the minutes")
    parser.add_argument("--train", type=int, help="training rows, where a data set has a choice; else its own number")
    parser.add_argument("--parts-of-npm", type=int, default=1, help="of `emoji-motion`, of about 120 MB each")
    parser.add_argument("--samples", type=int, default=1000, help="held-out rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--folder", type=Path, default=Path("runs/modalities"), help="of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "modalities.json")
    arguments = parser.parse_args()
    budget = {"steps": arguments.steps} if arguments.steps else {"minutes": arguments.minutes}
    results = Results(arguments.output, **budget)
    for seed in arguments.seeds:
        for part in arguments.parts:
            PARTS[part](arguments, seed, results)


if __name__ == "__main__":
    main()
