"""Many fields at once on the data set `fashion`: from nothing, and from two inputs that say the same.

    python benchmarks/fusion.py [--parts joint two] [--recipes mopoe] [--minutes 10] [--seeds 0 1 2]

- ``joint``: picture, caption and speech are generated from nothing. A row is coherent where the class that a
  classifier, trained on real pictures, sees, the class that the caption names, and the name that pocketsphinx hears,
  with the ten names as its grammar, are all the same. With each prior: the standard normal, and a mixture and a flow
  fitted to the latents of the training rows. Beside it: how often the picture agrees with the caption, and the speech
  with the caption; the effective number of classes among the coherent rows (the exponential of their entropy: 10 are
  all, 1 is a collapse); what the judges make of real rows.
- ``two``: caption and picture -> speech, and speech and picture -> caption, by `any-to-any`, beside either one alone.
  Inputs are noisy, so that none is enough: Gaussian noise lies on the pictures, white noise on the sound, and captions
  have lost some of their pieces. Of each kind the level is the one, of those tried, at which the class is told from it
  alone nearest to six times in ten, on rows for validation. Captions without noise: where half of them are vague, that
  is, say the kind of thing only (the data set `fashion:vague=0.5`, a model of its own), and where each names its class,
  which leaves nothing for a picture to tell. The share of outputs of the row's class; the gain is over the better
  input alone, with its standard error.

A run that is there is not trained again, and one that was stopped goes on. Prints tables and writes
benchmarks/results/fusion.json. `fashion` needs Debian's package `dataset-fashion-mnist` or the hub.
"""

import argparse
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from rich.console import Console
from rich.table import Table

import polymodal as pm
from fashion_scores import Fashion, Ours, column, everything, first, fit, run_folder, share
from polymodal.data import Rows
from polymodal.data.fashion import class_of
from polymodal.generation import generate_rows, write
from polymodal.modalities import Audio, Text
from polymodal.modalities.audio import Waveform
from polymodal.nn.random import fold, make_keys, normal, uniform
from polymodal.prior import KINDS
from polymodal.types import Field
from record import RESULTS, machine, save

JUDGED = ("picture", "caption", "speech")


class Evaluator:
    """What the parts share: settings, the judges, the results.

    Args:
        arguments: Of the command line.
    """

    def __init__(self, arguments: argparse.Namespace):
        self.folder, self.runs, self.minutes = arguments.folder, arguments.runs, arguments.minutes
        self.seeds, self.seed = arguments.seeds, arguments.seeds[0]
        steps, minutes = arguments.steps, arguments.minutes
        self.budget = {"train.steps": steps} if steps else {"train.minutes": minutes}
        self.spent = f"{steps:,} steps" if steps else f"{minutes:g} minutes"
        self.samples, self.recipes, self.output = arguments.samples, arguments.recipes, arguments.output
        self.priors = arguments.priors
        self.results: dict[str, Any] = json.loads(self.output.read_text()) if self.output.exists() else {}
        self.results["machine"] = machine()
        self.judge = arguments.classifier
        self.fashion = Fashion(self.judge)
        self.data, self.classifier, self.recogniser = (
            self.fashion.data, self.fashion.classifier, self.fashion.recogniser
        )  # fmt: skip

    def classes(self, pictures: Field, captions: Sequence[str], sounds: Sequence[Waveform]) -> list[tuple[Any, ...]]:
        """Of each row, the class that is seen, the one that is written and the one that is heard."""
        seen = self.classifier.predict(pictures)
        heard = [self.fashion.class_of_sound.get(str(words)) for words in self.recogniser.recognise(sounds)]
        return list(zip(seen, map(class_of, captions), heard, strict=True))

    def keep(self, part: str, result: Any) -> None:
        """Writes what is known so far."""
        self.results[part] = result
        save(self.results, self.output)


def joint(bench: Evaluator) -> None:
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


def _made(bench: Evaluator, model: pm.Generator) -> tuple[Field, list[str], list[Waveform]]:
    """Pictures, captions and sounds that a model makes of nothing."""
    everywhere, keys = torch.ones(bench.samples, dtype=torch.bool), make_keys(bench.seed, bench.samples)
    made = generate_rows(model.model, {}, {}, dict.fromkeys(JUDGED, everywhere), keys)
    captions, sounds = (write(model.fields[name], made[name]) for name in JUDGED[1:])
    return made["picture"], captions, sounds


def _real(bench: Evaluator, count: int = 1000) -> list[tuple[Any, ...]]:
    """What the judges make of real test rows."""
    rows = bench.data.test.select(torch.arange(count))
    sounds = [Waveform(*soundfile.read(io.BytesIO(cell), dtype="float32")) for cell in rows.column("speech")]
    return bench.classes(column(rows, "picture"), rows.column("caption"), sounds)


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


VAGUE = "fashion:vague=0.5"
PAIRS = (
    ("fashion", ("caption", "picture"), "speech"),
    (VAGUE, ("caption, half vague", "picture"), "speech"),
    ("fashion", ("caption, clear", "picture"), "speech"),
    ("fashion", ("speech", "picture"), "caption"),
)
"""Data set, inputs, output. An input after whose name something is said has no noise."""
LEVELS = {
    "picture": (0.25, 0.5, 1.0, 1.5, 2.0, 3.0),
    "caption": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    "speech": (0.1, 0.2, 0.5, 1.0, 2.0, 4.0),
}
"""Of noise: its deviation, a picture being in [-1, 1]; the share of pieces; its deviation beside the sound's own."""
TOLD = {"picture": "caption", "caption": "picture", "speech": "caption"}
"""By which output it is seen how much of the class an input tells: the one that is judged fastest."""
ALONE = 0.6
"""Share of rows whose class an input is to tell alone."""


def noisy(rows: Rows, name: str, level: float, seed: int) -> Field:
    """One field of the rows, with noise; ``caption, clear`` has none."""
    name, _, without = name.partition(", ")
    level = 0.0 if without else level
    field, keys = everything(rows.only(name))[name], fold(make_keys(seed, len(rows)), 77)
    if not level:
        return field
    if name == "picture":
        return replace(field, value=(field.value + level * normal(keys, field.value.shape[1:])).clamp(-1, 1))
    if name == "caption":
        kept = ((uniform(keys, field.value.shape[1:]) >= level) | (field.value == Text.END)) & field.mask
        order = (~kept).int().argsort(dim=1, stable=True)  # those that are left move together
        kept = kept.gather(1, order)
        return Field(field.value.gather(1, order) * kept, kept, field.present, 0)
    audio, random = rows.fields[name], np.random.default_rng(seed)
    assert isinstance(audio, Audio)
    clips = []
    for cell in rows.column(name):
        samples = audio.samples(cell)
        noise = level * samples.std() * random.standard_normal(len(samples)).astype(np.float32)
        clips.append(torch.from_numpy(audio.read(samples + noise)))
    stored = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    mask = torch.arange(stored.shape[1]) < torch.tensor([len(clip) for clip in clips])[:, None]
    return Field(audio.to_model(stored) * mask[:, None], mask, field.present, 1)


def two(bench: Evaluator) -> None:
    """Two inputs that say the same, beside either alone; the model of each seed has test rows of its own."""
    worlds = {"fashion": bench.fashion, VAGUE: Fashion(bench.judge, VAGUE)}
    makers = {
        source: {seed: _maker(bench, world, source, seed) for seed in bench.seeds} for source, world in worlds.items()
    }
    told = _told(bench.fashion, makers["fashion"][bench.seed], bench.seed)
    levels = {name: min(found, key=lambda level: abs(found[level] - ALONE)) for name, found in told.items()}
    result: dict[str, Any] = {"minutes": bench.minutes, "seeds": len(bench.seeds), "told": told, "levels": levels}
    count = bench.samples * len(bench.seeds)
    micro_batches = dict(zip(bench.seeds, torch.arange(count).split(bench.samples), strict=True))
    known: dict[tuple[str, ...], np.ndarray] = {}

    def right(source: str, names: tuple[str, ...], to: str) -> np.ndarray:
        """(rows,) whether what is made from the fields ``names`` is of the row's class."""
        if (source, *names, to) not in known:
            found, truth, world = [], [], worlds[source]
            for seed, make in makers[source].items():
                rows = world.data.test.select(micro_batches[seed])
                given = {name: noisy(rows, name, levels.get(name, 0.0), seed + 1) for name in names}
                made = make({name.split(",")[0]: field for name, field in given.items()}, [to], len(rows))
                found += world.classes(to, made[to])
                truth += rows.column("label")
            known[source, *names, to] = np.array([a == b for a, b in zip(found, truth, strict=True)], dtype=float)
        return known[source, *names, to]

    table = Table("inputs", "to", "first", "second", "both", "gain", title=f"Noisy inputs, {count:,} test rows")
    for source, names, to in PAIRS:
        alone, both = [right(source, (name,), to) for name in names], right(source, names, to)
        gain = both - max(alone, key=np.mean)
        scores = {"first": alone[0].mean(), "second": alone[1].mean(), "both": both.mean(), "gain": gain.mean()}
        scores["gain_error"] = gain.std() / math.sqrt(count)
        result[f"{' + '.join(names)} -> {to}"] = scores
        shown = (f"{scores[name]:.1%}" for name in ("first", "second", "both"))
        table.add_row(" + ".join(names), to, *shown, f"{100 * scores['gain']:+.1f} ± {100 * scores['gain_error']:.1f}")
        bench.keep("two", result | {"samples": count})
    Console().print(table)


def _maker(bench: Evaluator, world: Fashion, source: str, seed: int) -> Ours:
    """`any-to-any`, trained on the rows of a data set; on `fashion` it is that of missing.py."""
    run = run_folder(bench.runs, "any-to-any" if source == "fashion" else "any-to-any-vague", 0, seed)
    return Ours(fit(world.data, run, minutes=bench.minutes, seed=seed), seed)


def _told(fashion: Fashion, make: Ours, seed: int) -> dict[str, dict[float, float]]:
    """By field and level of noise, how much of the class is told from it alone, on rows for validation."""
    rows = first(fashion.data.validation, 500)
    told: dict[str, dict[float, float]] = {}
    for name, levels in LEVELS.items():
        to = TOLD[name]
        for level in levels:
            made = make({name: noisy(rows, name, level, seed)}, [to], len(rows))[to]
            told.setdefault(name, {})[level] = share(fashion.classes(to, made), rows.column("label"))
    return told


PARTS = {"joint": joint, "two": two}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--recipes", nargs="+", default=["mopoe"], help="of part joint")
    parser.add_argument("--priors", nargs="+", choices=KINDS, default=KINDS, help="of part joint")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--steps", type=int, help="of each training, in place of minutes")
    parser.add_argument("--samples", type=int, default=1000, help="rows; of part two, for each seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="part joint has the first one only")
    parser.add_argument("--folder", type=Path, default=Path("runs/fusion"))
    parser.add_argument("--runs", type=Path, default=Path("runs/missing"), help="of part two: missing.py's")
    parser.add_argument("--classifier", type=Path, default=Path("runs/families/classifier"))
    parser.add_argument("--output", type=Path, default=RESULTS / "fusion.json")
    arguments = parser.parse_args()
    bench = Evaluator(arguments)
    for part in arguments.parts:
        PARTS[part](bench)


if __name__ == "__main__":
    main()
