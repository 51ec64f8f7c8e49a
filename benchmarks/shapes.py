"""Shapes of held-out furniture from names or icons: 1-NNA, MMD and COV by Chamfer distance, beside retrieval.

    apt-get install sweethome3d-furniture
    pip install 'polymodal[shapes]'
    python benchmarks/shapes.py [--recipes text-to-shape image-to-shape] [--minutes 10] [--seeds 0] [--folder FOLDER]

Every held-out piece has one shape made for it; both are of unit scale. `real` is what as many shapes of the other half
of the training groups score in their place. `retrieval` takes the shape of the training piece whose name (by its words
and letters) or icon (by its pixels) is nearest; `category` a random training shape of the right category. `right` is
the share of shapes whose nearest training shape is of the piece's category. Bars: COV and `right` at least 0.7 of real
ones'; icon -> shape nearer than a random shape of the category. Prints and writes benchmarks/results/shapes.json, in
which what other recipes and seeds gave stays.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

import polymodal as pm
from polymodal.data import Rows
from polymodal.evaluation.metrics import (
    chamfer_distance,
    chamfer_matrix,
    matched_share,
    matching_distance,
    nearest_neighbour_accuracy,
)
from record import RESULTS, about, save


def values(rows: Rows, name: str) -> torch.Tensor:
    """Model form of a field of all rows."""
    return rows.only(name).decode(rows.only(name).batch(np.arange(len(rows))))[name].value


def nearest(train: Rows, test: Rows, given: str) -> torch.Tensor:
    """Of each row of ``test``, the place of the training row whose input is nearest."""
    if given == "name":
        words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)).fit(train.column("name"))
        return torch.from_numpy(
            (words.transform(test.column("name")) @ words.transform(train.column("name")).T).toarray()
        ).argmax(1)
    return torch.cdist(values(test, given).flatten(1), values(train, given).flatten(1)).argmin(1)


def score(
    made: torch.Tensor, real: torch.Tensor, train: torch.Tensor, own: torch.Tensor, classes: dict[str, np.ndarray]
) -> dict[str, Any]:
    """All figures of shapes (n, 3, points) in the place of real ones, whose ``own`` distances are known."""
    between, inner = chamfer_matrix(real, made), chamfer_matrix(made, made)
    found = classes["train"][chamfer_matrix(made[..., :512], train[..., :512]).argmin(1).numpy()]
    return {
        "1-NNA": nearest_neighbour_accuracy(own, between, inner),
        "MMD": matching_distance(between),
        "COV": matched_share(between),
        "Chamfer distance": float(chamfer_distance(real, made).mean()),
        "right": float(np.mean(found == classes["test"])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["text-to-shape", "image-to-shape"])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--points", type=int, default=2048, help="of each shape that are compared")
    parser.add_argument("--folder", help="of the catalogues of Sweet Home 3D")
    parser.add_argument("--runs", type=Path, default=Path("runs/shapes"))
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "shapes.json")
    arguments = parser.parse_args()
    began = time.monotonic()
    result = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    source = "furniture" + (f":folder={arguments.folder}" if arguments.folder else "")
    for recipe in arguments.recipes:
        for seed in arguments.seeds:
            budget = {"train.minutes": arguments.minutes, "train.clock": "processor", "train.seed": seed}
            run = pm.fit(recipe, source, run=arguments.runs / f"{recipe}-{seed}", set=budget)
            data = run.data()
            train, test = (rows.select(rows.present["shape"]) for rows in (data.train, data.test))
            given = run.inputs[0]
            shapes = {name: values(rows, "shape")[:, :3] for name, rows in {"train": train, "test": test}.items()}
            classes = {
                name: np.array(list(rows.column("category"))) for name, rows in {"train": train, "test": test}.items()
            }
            rows = [{given: row[given]} for row in test]
            made = [each["shape"] for each in run.generate_batch(rows, "shape", seed=seed)]
            points = run.fields["shape"]
            ours = torch.stack([torch.from_numpy(points.read(np.asarray(shape)))[:3] for shape in made])
            random = np.random.default_rng(seed)
            alike = [random.choice(np.flatnonzero(classes["train"] == kind)) for kind in classes["test"]]
            others = random.permutation(len(train))[: len(test)]
            candidates = {
                "ours": ours,
                "real": shapes["train"][torch.from_numpy(others)],
                "retrieval": shapes["train"][nearest(train, test, given)],
                "category": shapes["train"][torch.tensor(alike)],
            }
            found, test_part = {}, shapes["test"][..., : arguments.points]
            own = chamfer_matrix(test_part, test_part)
            for name, candidate in candidates.items():
                found[name] = score(candidate[..., : arguments.points], test_part, shapes["train"], own, classes)
                print(recipe, seed, name, {key: round(value, 3) for key, value in found[name].items()}, flush=True)
            found["real"]["right"] = score_of_real(shapes, classes)
            result.setdefault(recipe, {})[f"seed {seed}"] = {"minutes": arguments.minutes, **found}
            save(result | about(time.monotonic() - began), arguments.output)


def score_of_real(shapes: dict[str, torch.Tensor], classes: dict[str, np.ndarray]) -> float:
    """The share of real held-out shapes whose nearest training shape is of their category."""
    places = chamfer_matrix(shapes["test"][..., :512], shapes["train"][..., :512]).argmin(1).numpy()
    return float(np.mean(classes["train"][places] == classes["test"]))


if __name__ == "__main__":
    main()
