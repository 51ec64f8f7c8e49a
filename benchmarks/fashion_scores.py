"""What the benchmarks on `fashion` share: the rows, the judges, coherence, and the recipe that is measured.

A picture's class is the one that a classifier of real pictures sees, a caption's the one that it names, and a sound's
the one that pocketsphinx hears, with the ten names as its grammar.
"""

import argparse
import dataclasses
import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, Protocol

import torch

import polymodal as pm
from classifier import Classifier, set_apart
from polymodal.data import Data, Rows
from polymodal.data.fashion import FIELDS, NAMES, class_of
from polymodal.evaluation.judges import Recogniser
from polymodal.generation import generate_rows, write
from polymodal.modalities.base import Modality
from polymodal.nn.random import make_keys
from polymodal.types import Batch, Field
from record import RESULTS, about, save

MODALITIES = ("picture", "caption", "speech")
DIRECTIONS = tuple(f"{given} -> {to}" for given, to in permutations(MODALITIES, 2))

READ: dict[str, dict[str, Any]] = {
    "picture": FIELDS["picture"],
    "caption": {"modality": "text", "max_length": 16, "tokenizer": "bpe", "vocab_size": 512},
    "speech": FIELDS["speech"],
}
"""How the fields are read."""

ANY_TO_ANY: dict[str, Any] = {
    "width": 128,
    "fields.picture": {
        "modality": "image",
        "encoder": {"kind": "picture", "stages": 3, "depth": 0, "augment": 0.3, "noise": 3.0},
    },
    "fields.caption": {"modality": "text", "encoder": {"depth": 1}, "head": {"depth": 1}},
    "fields.speech": {
        "modality": "audio",
        "encoder": {"depth": 1},
        "head": {"depth": 2, "repeats": 2, "solver": "euler"},
    },
    "tasks.tasks_per_row": 1,
    "tasks.one": 0.72,
    "tasks.some": 0.2,
    "train.clock": "processor",
    "train.codec_share": 0.2,
    "train.validate_every": 10.0,
}  # fmt: skip
"""The recipe `any-to-any` at the size of `fashion` and of a few minutes."""


class Maker(Protocol):
    """A trained generator of either library."""

    def __call__(self, given: Batch, to: Sequence[str], rows: int) -> Batch:
        """The fields ``to`` of ``rows`` rows, from the fields that are given."""


@dataclasses.dataclass
class Ours:
    """A generator of this library as a ``Maker``: several fields are made one after the other, so that they agree.

    Attributes:
        model: Trained.
        seed: Of the samples.
        greedy: Take the likeliest caption where something is given.
    """

    model: pm.Generator
    seed: int = 0
    greedy: bool = True

    def __call__(self, given: Batch, to: Sequence[str], rows: int) -> Batch:
        everywhere, keys = torch.ones(rows, dtype=torch.bool), make_keys(self.seed, rows)
        options = {"caption": {"temperature": 0.0}} if self.greedy and given and "caption" in to else {}
        seen, wanted = dict.fromkeys(given, everywhere), dict.fromkeys(to, everywhere)
        return generate_rows(self.model.model, given, seen, wanted, keys, options)


class Fashion:
    """The data set and the judges of all three modalities.

    Args:
        classifier: Folder in which the judge of pictures is kept, or is to be.
        source: The data set, with its options.

    Attributes:
        data: Pictures, captions and speech; no label is among what a generator sees.
        labelled: Pictures, captions and labels of the same rows.
        unseen: Training rows of which the classifier has seen none.
    """

    def __init__(self, classifier: Path, source: str = "fashion"):
        whole = pm.load(source, fields=READ | {"label": FIELDS["label"]})
        self.labelled = {name: rows.only("picture", "label") for name, rows in whole.splits.items()}
        self.data = dataclasses.replace(
            whole,
            fields={name: whole.fields[name] for name in MODALITIES},
            **{name: rows.only(*MODALITIES) for name, rows in whole.splits.items()},
        )
        learned, self.unseen = set_apart(self.labelled["train"])
        self.classifier = Classifier.train(learned, self.labelled["test"], epochs=8, folder=classifier)
        self.recogniser = Recogniser(list(NAMES.values()))
        self.class_of_sound = {self.recogniser.sayable[name]: label for label, name in NAMES.items()}

    def classes(self, name: str, field: Field, fields: Mapping[str, Modality] | None = None) -> list[Any]:
        """The class of each row's value, None where none can be told; ``fields`` of a model that has its own."""
        if name == "picture":
            return self.classifier.predict(field)
        objects = write((fields or self.data.fields)[name], field)
        if name == "caption":
            return [class_of(caption) for caption in objects]
        return [self.class_of_sound.get(str(words)) for words in self.recogniser.recognise(objects)]

    def coherence(self, make: Maker, rows: Rows, directions: Sequence[str] = DIRECTIONS) -> dict[str, float]:
        """By direction, such as ``caption -> picture``, the share of rows whose made value is of the row's class.

        Only every second row is spoken: to hear takes longer than all the rest.
        """
        scores = {}
        for direction in directions:
            given, to = direction.split(" -> ")
            own = rows.select(torch.arange(0, len(rows), 2)) if to == "speech" else rows
            made = make(everything(own.only(given)), [to], len(own))[to]
            scores[direction] = share(self.classes(to, made), own.column("label"))
        return scores

    def agreement(self, made: Batch) -> dict[str, float]:
        """How often the three fields of a row are of one class, and the effective number of classes among those rows.

        That number is the exponential of their entropy: 10 are all, 1 is a collapse.
        """
        rows = list(zip(*(self.classes(name, made[name]) for name in MODALITIES), strict=True))
        agreed = Counter(classes[0] for classes in rows if classes[0] is not None and len(set(classes)) == 1)
        count = agreed.total()
        return {
            "coherent": count / len(rows),
            "classes": math.exp(-sum(n / count * math.log(n / count) for n in agreed.values())) if count else 0.0,
        }


class Results:
    """A tree of numbers in a JSON file, kept as they come; what an earlier call found stays.

    Args:
        file: To be written.
        settings: Of this call; the file may hold no figures of others.
    """

    def __init__(self, file: Path, **settings: Any):
        self.file = file
        self.tree: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        if other := [
            f"{name} {self.tree[name]}" for name, value in settings.items() if self.tree.get(name, value) != value
        ]:
            raise SystemExit(f"{file}: holds figures of {', '.join(other)}; choose another --output, or move it away")
        self.tree |= settings
        self.before = float(self.tree.get("minutes_in_all", 0.0))

    def keep(self, value: Any, *path: str) -> None:
        """Writes ``value`` at the place in the tree that ``path`` names."""
        place = self.tree
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
        facts = about(time.process_time())
        self.tree |= facts | {"minutes_in_all": round(self.before + facts["minutes_in_all"], 1)}
        save(self.tree, self.file)


def everything(rows: Rows) -> Batch:
    """All fields of the rows in model form."""
    return rows.decode(rows.batch(torch.arange(len(rows))))


def column(rows: Rows, name: str) -> Field:
    """One field of the rows in model form."""
    return everything(rows.only(name))[name]


def first(rows: Rows, count: int) -> Rows:
    """The first rows."""
    return rows.select(torch.arange(min(count, len(rows))))


def share(found: Sequence[Any], wanted: Sequence[Any]) -> float:
    """Of the rows in which both are equal."""
    return sum(a == b for a, b in zip(found, wanted, strict=True)) / len(wanted)


def mean(scores: Mapping[str, float]) -> float:
    return sum(scores.values()) / len(scores)


def command(description: str | None, output: str) -> argparse.ArgumentParser:
    """What can be told to every benchmark that trains on `fashion` beside MultiVae.

    Args:
        description: Of the benchmark.
        output: Name of its JSON file.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--multivae", type=Path, help="folder of multivae and pythae; else ours alone")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training, of the processor's time")
    parser.add_argument("--samples", type=int, default=1000, help="held-out rows; twice as many pictures for an FID")
    parser.add_argument("--only-train", action="store_true", help="and score when called again")
    parser.add_argument("--folder", type=Path, default=Path("runs/missing"), help="of the runs, which are shared")
    parser.add_argument("--classifier", type=Path, default=Path("runs/families/classifier"))
    parser.add_argument("--output", type=Path, default=RESULTS / output)
    return parser


def run_folder(folder: Path, name: str, missing: float, seed: int) -> Path:
    """Where a run is kept: its folder tells all in which the runs of a benchmark differ."""
    return folder / f"{name}-{missing:.0%}-seed-{seed}"


def fit(data: Data, run: Path, *, minutes: float, seed: int, **settings: Any) -> pm.Generator:
    """`any-to-any` on some of the rows or cells, from its folder if it is there."""
    chosen = ANY_TO_ANY | {"train.minutes": minutes, "train.seed": seed} | settings
    return pm.fit("any-to-any", data, run=run, set=chosen)


def trained(recipe: str, source: str, arguments: argparse.Namespace, seed: int) -> pm.Generator:
    """The trained generator of a recipe, from its folder if it is there."""
    steps = {"train.steps": arguments.steps, "train.codec_steps": arguments.steps}
    budget = steps if arguments.steps else {"train.minutes": arguments.minutes}
    chosen = budget | {"train.seed": seed, "train.clock": arguments.clock}
    return pm.fit(recipe, source, run=arguments.folder / f"{recipe}-seed-{seed}", set=chosen)
