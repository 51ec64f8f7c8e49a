"""Joint latents on the data set `fashion`: what is generated from nothing agrees, or does not.

    python benchmarks/fusion.py [--parts joint] [--recipes mopoe] [--minutes 10] [--folder runs/fusion]

- ``joint``: picture, caption and speech are generated from nothing. A row is coherent where the class that a
  classifier, trained on real pictures, sees, the class that the caption names, and the name that pocketsphinx hears,
  with the ten names as its grammar, are all the same. With each prior: the standard normal, and a mixture and a flow
  fitted to the latents of the training rows. Beside it: how often the picture agrees with the caption, and the speech
  with the caption; the effective number of classes among the coherent rows (the exponential of their entropy: 10 are
  all, 1 is a collapse); what the judges make of real rows.

A run that is there is not trained again, and one that was stopped goes on. Prints tables and writes
benchmarks/results/fusion.json. `fashion` needs Debian's package `dataset-fashion-mnist` or the hub.
"""

import argparse
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch
from rich.console import Console
from rich.table import Table

import polymodal as pm
from polymodal.data import Rows
from polymodal.data.fashion import FIELDS, NAMES, class_of
from polymodal.evaluation.classifier import Classifier
from polymodal.evaluation.recogniser import Recogniser
from polymodal.generation import generate_rows, write
from polymodal.modalities.audio import Waveform
from polymodal.nn.random import make_keys
from polymodal.prior import KINDS
from polymodal.types import Field
from record import RESULTS, machine, save

JUDGED = ("picture", "caption", "speech")


class Bench:
    """What the parts share: settings, the judges, the results.

    Args:
        arguments: Of the command line.
    """

    def __init__(self, arguments: argparse.Namespace):
        self.folder, self.seed = arguments.folder, arguments.seed
        steps, minutes = arguments.steps, arguments.minutes
        self.budget = {"train.steps": steps} if steps else {"train.minutes": minutes}
        self.spent = f"{steps:,} steps" if steps else f"{minutes:g} minutes"
        self.samples, self.recipes, self.output = arguments.samples, arguments.recipes, arguments.output
        self.priors = arguments.priors
        self.results: dict[str, Any] = json.loads(self.output.read_text()) if self.output.exists() else {}
        self.results["machine"] = machine()
        self.data = pm.load("fashion", fields={name: FIELDS[name] for name in ("picture", "caption", "label")})
        self.classifier = Classifier.train(self.data.train, self.data.test, epochs=8, folder=self.folder / "classifier")
        self.recogniser = Recogniser(list(NAMES.values()))
        self.class_of_sound = {self.recogniser.sayable[name]: label for label, name in NAMES.items()}

    def classes(self, pictures: Field, captions: Sequence[str], sounds: Sequence[Waveform]) -> list[tuple[Any, ...]]:
        """Of each row, the class that is seen, the one that is written and the one that is heard."""
        seen = self.classifier.predict(pictures)
        heard = [self.class_of_sound.get(str(words)) for words in self.recogniser.recognise(sounds)]
        return list(zip(seen, map(class_of, captions), heard, strict=True))

    def keep(self, part: str, result: Any) -> None:
        """Writes what is known so far."""
        self.results[part] = result
        save(self.results, self.output)


def joint(bench: Bench) -> None:
    """Everything from nothing."""
    result: dict[str, Any] = bench.results.get("joint", {})
    result |= {"classifier_accuracy": bench.classifier.accuracy, "real": _scores(_real(bench))}
    title = f"Picture, caption and speech from nothing, {bench.samples:,} rows, {bench.spent} of training"
    columns = ("coherent", "picture and caption", "speech and caption", "classes", "x standard", "nats")
    table = Table("recipe", "prior", *columns, title=title)
    table.add_row("real rows", "", *_cells(result["real"]), "", "")
    for recipe in bench.recipes:
        run = bench.folder / recipe
        model = pm.fit(recipe, "fashion", run=run, set={**bench.budget, "train.seed": bench.seed})
        found: dict[str, Any] = {**bench.budget, "seed": bench.seed, "samples": bench.samples}
        for kind in bench.priors:
            fitted = model.fit_prior(kind=kind, seed=bench.seed)
            model.save_pretrained(run / f"prior-{kind}")
            scores = _scores(bench.classes(*_made(bench, model)))
            scores |= {"log_likelihood": fitted.log_likelihood}
            scores["x_standard"] = scores["coherent"] / max(
                (found.get("standard") or scores)["coherent"], 1 / bench.samples
            )
            found[kind] = scores
            nats = f"{fitted.log_likelihood:.1f}"
            table.add_row(recipe, kind, *_cells(scores), f"{scores['x_standard']:.1f}", nats)
            bench.keep("joint", result | {recipe: found})
        result[recipe] = found
    Console().print(table)


def _made(bench: Bench, model: pm.Generator) -> tuple[Field, list[str], list[Waveform]]:
    """Pictures, captions and sounds that a model makes of nothing."""
    everywhere, keys = torch.ones(bench.samples, dtype=torch.bool), make_keys(bench.seed, bench.samples)
    made = generate_rows(model.model, {}, {}, dict.fromkeys(JUDGED, everywhere), keys)
    captions, sounds = (write(model.fields[name], made[name]) for name in JUDGED[1:])
    return made["picture"], captions, sounds


def _real(bench: Bench, count: int = 1000) -> list[tuple[Any, ...]]:
    """What the judges make of real test rows."""
    rows = bench.data.test.select(torch.arange(count))
    sounds = [Waveform(*soundfile.read(io.BytesIO(cell), dtype="float32")) for cell in rows.column("speech")]
    return bench.classes(_field(rows, "picture"), rows.column("caption"), sounds)


def _field(rows: Rows, name: str) -> Field:
    return rows.only(name).decode(rows.only(name).batch(torch.arange(len(rows))))[name]


def _scores(classes: Sequence[tuple[Any, ...]]) -> dict[str, float]:
    """Shares of rows that agree, of (seen, written, heard)."""
    agreed = [seen for seen, written, heard in classes if seen == written == heard]
    shares = [count / len(agreed) for count in Counter(agreed).values()]
    return {
        "coherent": len(agreed) / len(classes),
        "picture_and_caption": sum(seen == written for seen, written, _ in classes) / len(classes),
        "speech_and_caption": sum(heard == written for _, written, heard in classes if written) / len(classes),
        "classes": math.exp(-sum(share * math.log(share) for share in shares)),
    }


def _cells(scores: dict[str, float]) -> list[str]:
    names = ("coherent", "picture_and_caption", "speech_and_caption")
    return [*(f"{scores[name]:.1%}" for name in names), f"{scores['classes']:.1f}"]


PARTS = {"joint": joint}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--recipes", nargs="+", default=["mopoe"], help="of part joint")
    parser.add_argument("--priors", nargs="+", choices=KINDS, default=KINDS, help="of part joint")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--steps", type=int, help="of each training, in place of minutes")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/fusion"))
    parser.add_argument("--output", type=Path, default=RESULTS / "fusion.json")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    for part in arguments.parts:
        PARTS[part](bench)


if __name__ == "__main__":
    main()
