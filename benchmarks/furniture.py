"""Tables of people's own: `fill` beside gradient boosting, on a few hundred rows without 30 % of their cells.

    apt-get install sweethome3d-furniture
    python benchmarks/furniture.py [--minutes 3] [--seeds 0] [--tables furniture diabetes wine] [--folder FOLDER]

`furniture` has icon, name, category, three sizes and a price that follows from category and sizes with noise; no model
of one group is in both parts. `diabetes` and `wine` are scikit-learn's, split at random. What a user would do: train
the recipe on the part for training, and `fill` the cells that are missing from the part that is held out. Each held-out
row is in the table several times, each time without other cells.

Beside them, from the same cells: the most frequent category and the mean; and scikit-learn's HistGradientBoosting, one
model for each column, on the numbers, the category as a categorical and the name as a bag of words (it sees no icons).
Errors are root mean squares over that of the mean, so that 1 is the mean's; shares are of right labels. Bars: better
than the most frequent value and the mean; numbers' error at most 1.15 of gradient boosting's, the share right at least
0.95 of its. Prints and writes benchmarks/results/furniture.json.
"""

import argparse
import time
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer

import polymodal as pm
from polymodal.yaml_text import parse_override
from record import RESULTS, about, save

MISSING, COPIES, MOST_WORDS = 0.3, 6, 200
Table = dict[str, pd.DataFrame]


def furniture(folder: str | None) -> tuple[Table, dict[str, Any]]:
    """The parts ``train`` and ``test``, and the fields."""
    data = pm.load("furniture:meshes=false" + (f",folder={folder}" if folder else ""))
    tables = {}
    for name, rows in {"train": data.train.and_then(data.validation), "test": data.test}.items():
        tables[name] = pd.DataFrame({field: list(rows.column(field)) for field in data.fields})
    return tables, {"icon": "image", "name": "text", "category": "label"}


def plain(bunch: Any, label: str | None, seed: int = 0) -> tuple[Table, dict[str, Any]]:
    """A table of scikit-learn's, a quarter of it held out."""
    frame = bunch.frame.rename(columns=lambda name: name.replace("/", "_"))
    frame = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    if label:
        frame[label] = frame[label].map(lambda number: f"class {number}")
    held_out = len(frame) // 4
    return {"test": frame[:held_out], "train": frame[held_out:]}, {label: "label"} if label else {}


def without_cells(table: pd.DataFrame, copies: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table so many times with other cells missing, and the same whole."""
    whole = pd.concat([table] * copies, ignore_index=True)
    gone = np.random.default_rng(seed).random(whole.shape) < MISSING
    gone[gone.all(1), 0] = False
    return whole.astype(object).mask(gone, None), whole


def features(table: pd.DataFrame, target: str, kinds: dict[str, str], words: CountVectorizer | None) -> pd.DataFrame:
    """What gradient boosting sees of a table."""
    seen = {}
    for name in table.columns:
        kind = kinds.get(name, "vector")
        if name == target or kind == "image":
            continue
        if kind == "text" and words is not None:
            counts = words.transform(table[name].fillna("")).toarray().astype(float)
            counts[table[name].isna()] = np.nan
            seen |= {f"word {place}": column for place, column in enumerate(counts.T)}
        elif kind == "label":
            seen[name] = pd.Categorical(table[name])
        else:
            seen[name] = table[name].astype(float)
    return pd.DataFrame(seen, index=table.index)


def boosted(train: pd.DataFrame, test: pd.DataFrame, kinds: dict[str, str], seed: int) -> dict[str, np.ndarray]:
    """By column, the guesses of gradient boosting for all rows of ``test``."""
    words = None
    if text := next((name for name, kind in kinds.items() if kind == "text"), None):
        words = CountVectorizer(max_features=MOST_WORDS, binary=True).fit(train[text].dropna())
    guesses = {}
    for name in train.columns:
        kind = kinds.get(name, "vector")
        if kind in ("image", "text"):
            continue
        known = train[name].notna()
        model = HistGradientBoostingClassifier if kind == "label" else HistGradientBoostingRegressor
        own = model(random_state=seed, categorical_features="from_dtype")
        both = features(pd.concat([train, test], ignore_index=True), name, kinds, words)  # one list of categories
        values = train[name][known].astype(str if kind == "label" else float)
        own.fit(both[: len(train)][known.to_numpy()], values)
        guesses[name] = own.predict(both[len(train) :])
    return guesses


def scores(
    guesses: dict[str, Any], train: pd.DataFrame, test: pd.DataFrame, whole: pd.DataFrame, kinds: dict[str, str]
) -> dict[str, float]:
    """By column: the share of the missing cells that are right, or their error over that of the mean."""
    found = {}
    for name, guess in guesses.items():
        gone = test[name].isna().to_numpy()
        real = whole[name][gone]
        if kinds.get(name) == "label":
            found[name] = float(np.mean(np.asarray(guess)[gone].astype(str) == real.astype(str)))
        else:
            values, mean = real.to_numpy(float), train[name].dropna().astype(float).mean()
            error = np.square(np.asarray(guess, float)[gone] - values).mean()
            found[name] = float(np.sqrt(error / np.square(values - mean).mean()))
    return found


def measure(
    tables: Table, kinds: dict[str, str], recipe: str, overrides: dict[str, Any], run: Path, seed: int
) -> dict[str, Any]:
    """Scores by method and column."""
    train, _ = without_cells(tables["train"], 1, seed)
    test, whole = without_cells(tables["test"], COPIES, seed + 1)
    fields = {name: _field(kinds.get(name, "vector")) for name in train.columns}
    data = pm.load(train.to_dict("records"), fields, validation=0.1, test=0)
    model = pm.fit(recipe, data, run=run, overwrite=True, set={"train.seed": seed, **overrides})
    scored = [name for name in train.columns if kinds.get(name) not in ("image", "text")]
    filled = model.fill(test, columns=scored, compare=False)
    trivial = {
        name: [Counter(train[name].dropna()).most_common(1)[0][0]] * len(test)
        if kinds.get(name) == "label"
        else [train[name].dropna().astype(float).mean()] * len(test)
        for name in scored
    }
    methods = {
        "ours": {n: filled[n] for n in scored},
        "boosting": boosted(train, test, kinds, seed),
        "trivial": trivial,
    }
    return {name: scores(guesses, train, test, whole, kinds) for name, guesses in methods.items()}


def _field(kind: str) -> dict[str, Any]:
    sizes = {"image": {"size": 32}, "text": {"max_length": 40}, "vector": {"size": 1}}
    return {"modality": kind, **sizes.get(kind, {})}


def summary(found: dict[str, Any], kinds: dict[str, str]) -> dict[str, float]:
    """Ours over gradient boosting: the geometric mean of the numbers' errors, and the share of right labels."""
    ratio = {name: found["ours"][name] / found["boosting"][name] for name in found["ours"]}
    numbers = [value for name, value in ratio.items() if kinds.get(name) != "label"]
    labels = [value for name, value in ratio.items() if kinds.get(name) == "label"]
    result = {"numbers' error over boosting's": float(np.exp(np.log(numbers).mean()))}
    return result | ({"labels right over boosting's": fmean(labels)} if labels else {})


TABLES = {
    "furniture": furniture,
    "diabetes": lambda _: plain(load_diabetes(as_frame=True, scaled=False), None),
    "wine": lambda _: plain(load_wine(as_frame=True), "target"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--recipe", default="any-to-any")
    parser.add_argument("--set", nargs="*", default=[], help="of the recipe, as KEY=VALUE")
    parser.add_argument("--folder", help="of the catalogues of Sweet Home 3D")
    parser.add_argument("--runs", type=Path, default=Path("runs/furniture"))
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "furniture.json")
    arguments = parser.parse_args()
    overrides = dict(parse_override(text) for text in arguments.set)
    overrides |= {"train.minutes": arguments.minutes, "train.clock": "processor"}
    began, result = time.monotonic(), {}
    for name in arguments.tables:
        tables, kinds = TABLES[name](arguments.folder)
        for seed in arguments.seeds:
            run = arguments.runs / f"{name}-{seed}"
            found = measure(tables, kinds, arguments.recipe, overrides, run, seed)
            found["ratio"] = summary(found, kinds)
            result.setdefault(name, {})[f"seed {seed}"] = found
            for method, row in found.items():
                print(name, seed, method, {column: round(value, 3) for column, value in row.items()}, flush=True)
    save(result | about(time.monotonic() - began), arguments.output)


if __name__ == "__main__":
    main()
