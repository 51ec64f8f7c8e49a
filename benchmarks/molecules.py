"""Molecules from properties, and properties from molecules, on scaffolds that no training molecule has.

    python benchmarks/molecules.py [--minutes 10] [--seeds 0 1] [--samples 1000] [--folder runs/molecules]
        [--guidance 1 2] [--temperature 0.7 1]

- ``from nothing``: validity, uniqueness and novelty of molecules that `property-to-molecule` makes of nothing, and
  their Fréchet ChemNet distance from training molecules, beside that of other training molecules.
- ``from properties``: of test rows all five properties are given, and recomputed by RDKit of what is made. Errors of
  logP and mass are over those of the training rows' mean; beside them stands the training molecule whose properties
  are nearest (retrieval).
- ``melting point``: of test molecules, by `molecule-to-property` (the mean of several draws), by a random forest of
  scikit-learn on Morgan fingerprints, and by the training rows' mean, in kelvin.

Molecules are drawn as the recipe says, or with each guidance and temperature that are given, which have lines of their
own. Drawings of what was made lie in each run's folder ``made``. A run that is there is not trained again, and one that
was stopped goes on. Prints the scores and writes benchmarks/results/molecules.json. The extras ``molecules`` and
``bench`` are needed.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from sklearn.ensemble import RandomForestRegressor

import polymodal as pm
from fashion_scores import everything
from polymodal.checkpoint import find
from polymodal.data import Rows
from polymodal.evaluation.kinds.molecule import described
from polymodal.evaluation.metrics import chemnet_distance, novelty, uniqueness, validity
from polymodal.generation import contact, generate_rows, write
from polymodal.guess import guess_rows
from polymodal.modalities.chemistry import PROPERTIES, fingerprints, parse
from polymodal.nn.random import make_keys
from polymodal.types import Batch
from record import RESULTS, about, figure, save

SOURCES = {
    "property-to-molecule": "molecules:compounds={compounds}",
    "molecule-to-property": "molecules:compounds={measured},measured=true",
}
SAMPLING = ("guidance", "temperature")
"""Sampling options of the head that draws molecules."""
DRAWN = (4, 6)
"""Lines of molecules to look at, and of how many."""


def train(recipe: str, arguments: argparse.Namespace, seed: int) -> pm.Generator:
    """The trained generator of a recipe, from its folder if it is there."""
    source = SOURCES[recipe].format(compounds=arguments.compounds, measured=arguments.measured)
    chosen = {"train.minutes": arguments.minutes, "train.clock": "processor", "train.seed": seed}
    return pm.fit(recipe, source, run=arguments.folder / f"{recipe}-{seed}", set=chosen)


def some(rows: Rows, count: int) -> Rows:
    """So many of the rows, evenly apart."""
    return rows.select(np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)))


def settings(arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Each combination of the sampling options that were given; one of none, which are the recipe's, where none was."""
    given = {name: vars(arguments)[name] for name in SAMPLING if vars(arguments)[name]}
    return [dict(zip(given, values, strict=True)) for values in product(*given.values())]


def titled(part: str, options: dict[str, float]) -> str:
    """A part with its sampling options, such as ``from nothing, guidance 2``."""
    return ", ".join([part, *(f"{name} {value:g}" for name, value in options.items())])


def show(model: pm.Generator, made: list[Any], title: str) -> None:
    """The first molecules, drawn on a sheet."""
    folder, (lines, columns) = model.run / "made", DRAWN
    folder.mkdir(exist_ok=True)
    pictures = [model.fields["structure"].thumbnail(one, 200) for one in made[: lines * columns]]
    sheet = contact([pictures[line * columns : (line + 1) * columns] for line in range(lines)])
    sheet.save(folder / f"{title.replace(', ', '-').replace(' ', '-')}.png")


def drawn(
    model: pm.Generator, batch: Batch, given: dict[str, torch.Tensor], seed: int, rows: int, options: dict[str, float]
) -> list[Any]:
    """A molecule of each row."""
    to, keys = {"structure": torch.ones(rows, dtype=torch.bool)}, make_keys(seed, rows)
    field = generate_rows(model.model, batch, given, to, keys, {"structure": options})["structure"]
    return write(model.fields["structure"], field)


def from_nothing(model: pm.Generator, samples: int, seed: int, options: dict[str, float]) -> dict[str, float]:
    training = model.data().train.column("structure")
    made = drawn(model, {}, {}, seed, samples, options)
    show(model, made, titled("from nothing", options))
    order = np.random.default_rng(seed).permutation(len(training))
    first, second = ([training[place] for place in order[part * samples : (part + 1) * samples]] for part in (0, 1))
    return {
        "validity": float(validity(made).mean()),
        "uniqueness": uniqueness(made),
        "novelty": novelty(made, training),
        "FCD": chemnet_distance(first, made),
        "FCD of real": chemnet_distance(first, second),
    }


def from_properties(model: pm.Generator, samples: int, seed: int, options: dict[str, float]) -> dict[str, float]:
    data = model.data()
    rows = some(data.test, samples)
    batch, known = everything(rows), everything(data.train)
    made = drawn(model, batch, {name: batch[name].present for name in PROPERTIES}, seed, len(rows), options)
    show(model, made, titled("from properties", options))
    wanted, found = described(rows.column("structure")), described(made)
    training = described(data.train.column("structure"))
    ours, theirs = (torch.cat([values[name].value for name in PROPERTIES], dim=1) for values in (batch, known))
    nearest = training[torch.cdist(ours, theirs).argmin(1).numpy()]
    valid = ~np.isnan(found[:, 0])
    scores = {"validity": float(valid.mean())}
    for name in ("logp", "mass"):
        place = PROPERTIES.index(name)
        of_mean = np.abs(wanted[:, place] - training[:, place].mean()).mean()
        scores[f"{name}: error over the mean's"] = float(np.abs(found - wanted)[valid, place].mean() / of_mean)
        scores[f"{name}: retrieval's"] = float(np.abs(nearest - wanted)[:, place].mean() / of_mean)
    return scores


def melting_point(model: pm.Generator, samples: int, seed: int, _: dict[str, float]) -> dict[str, float]:
    data, name = model.data(), "melting_point"

    def complete(rows: Rows) -> Rows:
        return rows.select(rows.present[name] & rows.present["structure"])

    training, rows = complete(data.train), some(complete(data.test), samples)
    batch, everywhere = everything(rows), torch.ones(len(rows), dtype=torch.bool)
    keys = make_keys(seed, len(rows))
    guessed = guess_rows(model.model, batch, {"structure": everywhere}, {name: everywhere}, keys)[name]
    kelvin = {split: np.array(chosen.column(name), float) for split, chosen in (("train", training), ("test", rows))}
    inputs = [fingerprints([parse(smiles) for smiles in one.column("structure")]) for one in (training, rows)]
    forest = RandomForestRegressor(100, max_features=0.1, n_jobs=1, random_state=seed).fit(inputs[0], kelvin["train"])
    guesses = {
        "ours": np.array([float(thing[0]) for thing in write(model.fields[name], guessed)]),
        "forest": forest.predict(inputs[1]),
        "mean": np.full(len(rows), kelvin["train"].mean()),
    }
    errors = {who: float(np.abs(guess - kelvin["test"]).mean()) for who, guess in guesses.items()}
    return {f"{who}, K": error for who, error in errors.items()} | {
        "ours over the mean's": errors["ours"] / errors["mean"],
        "forest over the mean's": errors["forest"] / errors["mean"],
    }


PARTS = {
    "from nothing": ("property-to-molecule", from_nothing),
    "from properties": ("property-to-molecule", from_properties),
    "melting point": ("molecule-to-property", melting_point),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training, of the processor's time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--samples", type=int, default=1000, help="molecules from nothing, and most test rows")
    parser.add_argument("--compounds", type=int, default=20_000, help="of property-to-molecule's data")
    parser.add_argument("--measured", type=int, default=12_000, help="compounds of molecule-to-property's data")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    for name in SAMPLING:
        parser.add_argument(
            f"--{name}", type=float, nargs="+", default=[], help="of molecules; the recipe's if not given"
        )
    parser.add_argument("--folder", type=Path, default=Path("runs/molecules"))
    parser.add_argument("--output", type=Path, default=RESULTS / "molecules.json")
    arguments = parser.parse_args()
    begin, results = time.perf_counter(), dict[str, Any]()
    if arguments.output.exists():
        results = json.loads(arguments.output.read_text(encoding="utf-8"))["results"]
    for seed in arguments.seeds:
        for part in arguments.parts:
            recipe, score = PARTS[part]
            model = train(recipe, arguments, seed)
            for options in settings(arguments) if "structure" in model.outputs else [{}]:
                scores = {"steps": find(model.run).step, **score(model, arguments.samples, seed, options)}
                title = titled(part, options)
                results.setdefault(title, {})[f"seed {seed}"] = scores
                save({**about(time.perf_counter() - begin), "results": results}, arguments.output)
                told = ", ".join(f"{name} {figure(x)}" for name, x in scores.items())
                Console().print(f"{title}, seed {seed}: {told}")


if __name__ == "__main__":
    main()
