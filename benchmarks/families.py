"""Every family of generators on the data set `fashion`: the same captions, minutes, seed and judge for all.

    python benchmarks/families.py [--minutes 10] [--parts pictures steps speech seeds guidance] [--folder runs/families]

- ``pictures``: one recipe a family, caption -> picture of the 10,000 captions of the test set. Coherence is the share
  of pictures in which a classifier, trained on real pictures, sees the class that the caption names; FID and KID are in
  that classifier's features, beside the same distance, from real test pictures, of real training pictures that it has
  not learned from. Images a second are of one core.
- ``steps``: the flow in 50 and in 4 steps.
- ``speech``: speech of voices never heard -> caption; caption -> speech, understood by pocketsphinx with the ten names
  as its grammar, beside what it understands of the real speech.
- ``guidance``: how the flow on pixels is guided, from which time on and how strongly, on validation rows alone: kernel
  distance, FID and recall beside the rows' own pictures.
- ``seeds``: five seeds of the GAN on 2,000 pictures with nobody watching; recall tells a collapse.

Minutes are of the processor's time: with OMP_NUM_THREADS=1, of one core, whatever else runs on the machine; with
OMP_NUM_THREADS=2 and nothing beside it, `--minutes 20` is ten by the clock.
A run that is there is not trained again, and one that was stopped goes on; figures of families that are not named stay.
Prints tables and writes benchmarks/results/families.json. `fashion` needs Debian's package `dataset-fashion-mnist` or
the hub.
"""

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import soundfile
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import polymodal as pm
from classifier import Classifier, set_apart
from fashion_scores import column, share
from polymodal.config import load_recipe
from polymodal.data import Data, Rows
from polymodal.data.fashion import FIELDS, class_of
from polymodal.evaluation.judges import Recogniser
from polymodal.evaluation.metrics import frechet_distance
from polymodal.generation import generate_rows, write
from polymodal.modalities.audio import Waveform
from polymodal.nn.random import make_keys
from polymodal.types import Field
from record import RESULTS, machine, save
from set_metrics import kernel_distance, neighbours

PICTURES = {
    "gan": "text-to-image-gan",
    "vae": "image-vae",
    "flow": "latent-flow",
    "pixel-flow": "text-to-image-flow",
    "masked": "masked-any-to-any",
    "autoregressive": "vq-autoregressive",
}


GUIDED = [(0.4, 1.0), *((begin, 2.3) for begin in (0.0, 0.2, 0.4, 0.6)), (0.4, 1.6), (0.4, 3.0)]
"""Times from which guidance acts, and its scales, that are compared; the first one is of no guidance."""

CAPTIONS = {"fields.name.column": "caption", "fields.name.max_length": 40}
"""The recipe writes names; here it writes captions."""


class Evaluator:
    """What the parts share: settings, the judge, the results.

    Args:
        arguments: Of the command line.
    """

    def __init__(self, arguments: argparse.Namespace):
        self.folder, self.minutes, self.seed = arguments.folder, arguments.minutes, arguments.seed
        self.samples, self.output, self.families = arguments.samples, arguments.output, arguments.families
        self.results: dict[str, Any] = {}
        if self.output.exists():
            self.results = json.loads(self.output.read_text())
        self.results["machine"] = machine()
        self.data = pm.load("fashion", fields={name: FIELDS[name] for name in ("picture", "caption", "label")})
        learned, self.unseen = set_apart(self.data.train)
        self.classifier = Classifier.train(
            learned, self.data.test, epochs=arguments.epochs, folder=self.folder / "classifier"
        )
        self.real = self.classifier.features(column(self.data.test, "picture"))
        self.accuracy = self.classifier.accuracy

    def train(self, recipe: str, name: str, source: str = "fashion", **settings: Any) -> tuple[pm.Generator, Data]:
        """The trained generator of a recipe, from its folder if it is there, and its data."""
        chosen = {"train.minutes": self.minutes, "train.clock": "processor", "train.seed": self.seed, **settings}
        rows: str | Data = source
        if not load_recipe(recipe).fields:  # those that take all fields are to learn no more than the others
            chosen["tasks.inputs"] = {"picture": 0.0}
            known = {"picture": FIELDS["picture"], "caption": FIELDS["caption"] | {"tokenizer": "bpe"}}
            rows = pm.load(source, fields=known)
        model = pm.fit(recipe, rows, run=self.folder / name, set=chosen)
        return model, model.data()

    def paint(self, model: pm.Generator, rows: Rows, count: int | None = None, **options: Any) -> tuple[Tensor, float]:
        """Pictures (n, channels, height, width) of the rows' captions, and the seconds that they took."""
        rows = rows.select(torch.arange(min(count or self.samples, len(rows))))
        given = [name for name in model.inputs if name == "caption"]
        batch = {name: column(rows, name) for name in given}
        everywhere = torch.ones(len(rows), dtype=torch.bool)
        keys = make_keys(self.seed, len(rows))
        begin = time.perf_counter()
        made = generate_rows(
            model.model, batch, dict.fromkeys(given, everywhere), {"picture": everywhere}, keys, {"picture": options}
        )
        return made["picture"].value, time.perf_counter() - begin

    def coherence(self, pictures: Tensor, rows: Rows) -> float:
        """Share of pictures whose class the classifier sees."""
        return share(self.classifier.predict(_as_field(pictures)), rows.column("label")[: len(pictures)])

    def speed(self, model: pm.Generator, rows: Rows, count: int, **options: Any) -> float:
        """Pictures a second on one core, the best of three."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        seconds = min(self.paint(model, rows, count, **options)[1] for _ in range(3))
        torch.set_num_threads(threads)
        return count / seconds

    def keep(self, part: str, result: Any) -> None:
        """Writes what is known so far."""
        self.results[part] = result
        save(self.results, self.output)


def pictures(bench: Evaluator) -> None:
    """One recipe a family, caption -> picture."""
    unseen = bench.classifier.features(column(bench.unseen, "picture"))
    floor = frechet_distance(bench.real, unseen)
    result: dict[str, Any] = bench.results.get("pictures", {}) | {
        "minutes": bench.minutes,
        "seed": bench.seed,
        "classifier_accuracy_on_real_test_pictures": bench.accuracy,
        "floor": {"fid": floor, "kid": kernel_distance(bench.real, unseen)},
    }
    title = f"caption -> picture, {bench.minutes:g} minutes each; the classifier is right on {bench.accuracy:.1%}"
    table = Table("family", "recipe", "coherence", "FID", "x floor", "KID", "recall", "images/s, one core", title=title)
    table.add_row("real", "unseen by the judge", "", f"{floor:.3f}", "1.0", f"{result['floor']['kid']:.5f}", "", "")
    for family in bench.families:
        recipe = PICTURES[family]
        model, data = bench.train(recipe, recipe)
        made, seconds = bench.paint(model, data.test)
        features = bench.classifier.features(_as_field(made))
        near = neighbours(bench.real[:5000], features[:5000])
        few = 500 if seconds / len(made) < 0.05 else 64
        result[family] = {
            "recipe": recipe,
            "coherence": bench.coherence(made, data.test),
            "fid": frechet_distance(bench.real, features),
            "kid": kernel_distance(bench.real, features),
            "recall": near.recall,
            "coverage": near.coverage,
            "images_per_second_on_one_core": bench.speed(model, data.test, few),
            "samples": len(made),
        }
        _sheet(model, made, data.test).save(bench.folder / f"{recipe}.png")
        got = result[family]
        ratio = got["fid"] / floor
        table.add_row(
            family, recipe, f"{got['coherence']:.1%}", f"{got['fid']:.3f}", f"{ratio:.1f}", f"{got['kid']:.5f}",
            f"{got['recall']:.2f}", f"{got['images_per_second_on_one_core']:.0f}",
        )  # fmt: skip
        bench.keep("pictures", result)
    Console().print(table)


def steps(bench: Evaluator) -> None:
    """The flow in few steps."""
    model, data = bench.train(PICTURES["flow"], PICTURES["flow"])
    table = Table("steps", "coherence", "FID", "images/s, one core", title="The flow in fewer steps")
    result = {}
    for count, options in ((50, {"steps": 50, "solver": "euler"}), (4, {"steps": 4, "solver": "euler"})):
        made, _ = bench.paint(model, data.test, **options)
        result[count] = {
            "coherence": bench.coherence(made, data.test),
            "fid": frechet_distance(bench.real, bench.classifier.features(_as_field(made))),
            "images_per_second_on_one_core": bench.speed(model, data.test, 128, **options),
        }
        table.add_row(str(count), *(f"{value:.3f}" for value in result[count].values()))
        bench.keep("steps", result)
    Console().print(table)


def speech(bench: Evaluator) -> None:
    """Speech of held-out voices -> caption, and caption -> speech."""
    listener, data = bench.train("audio-to-text", "audio-to-text", **CAPTIONS)
    rows = data.test.unique("speech")
    everywhere, keys = torch.ones(len(rows), dtype=torch.bool), make_keys(bench.seed, len(rows))
    text = listener.outputs[0]
    made = generate_rows(
        listener.model, {"speech": column(rows, "speech")}, {"speech": everywhere}, {text: everywhere}, keys,
        {text: {"temperature": 0.0}},
    )[text]  # fmt: skip
    heard = share([class_of(caption) for caption in write(listener.fields[text], made)], rows.column("label"))

    speaker, data = bench.train("text-to-audio", "text-to-audio")
    asked = data.test.select(torch.arange(min(500, len(data.test))))
    given = speaker.inputs[0]
    everywhere, keys = torch.ones(len(asked), dtype=torch.bool), make_keys(bench.seed, len(asked))
    spoken = generate_rows(
        speaker.model, {given: column(asked, given)}, {given: everywhere}, {"speech": everywhere}, keys
    )["speech"]
    names = asked.column("name")
    recogniser = Recogniser(sorted(set(names)))
    said = [recogniser.sayable[name] for name in names]
    generated = share(recogniser.recognise(write(speaker.fields["speech"], spoken)), said)
    clips = data.test.unique("speech")
    truth = [recogniser.sayable[name] for name in clips.column("name")]
    sounds = [soundfile.read(io.BytesIO(cell), dtype="float32") for cell in clips.column("speech")]
    real = share(recogniser.recognise([Waveform(*sound) for sound in sounds]), truth)
    result = {
        "minutes": bench.minutes,
        "speech_to_caption_class": heard,
        "clips": len(rows),
        "pocketsphinx_generated": generated,
        "pocketsphinx_real": real,
        "share_of_real": generated / real,
    }
    table = Table("direction", "score", title=f"Speech, {bench.minutes:g} minutes each")
    for name, value in result.items():
        table.add_row(name.replace("_", " "), f"{value:.3f}")
    Console().print(table)
    bench.keep("speech", result)


def seeds(bench: Evaluator, count: int = 5, pictures: int = 2000, minutes: float = 3.0) -> None:
    """The GAN on few pictures, several times, with nobody watching."""
    result = {}
    table = Table("seed", "recall", "coherence", "FID", title=f"GAN on {pictures} pictures, {minutes:g} minutes each")
    for seed in range(count):
        model, data = bench.train(
            PICTURES["gan"],
            f"gan-{pictures}-seed-{seed}",
            f"fashion:train={pictures}",
            **{"train.seed": seed, "train.minutes": minutes},
        )
        made, _ = bench.paint(model, data.test, 5000)
        features = bench.classifier.features(_as_field(made))
        result[seed] = {
            "recall": neighbours(bench.real[:5000], features).recall,
            "coherence": bench.coherence(made, data.test),
            "fid": frechet_distance(bench.real[:5000], features),
        }
        table.add_row(str(seed), *(f"{value:.3f}" for value in result[seed].values()))
        bench.keep("seeds", result)
    Console().print(table)


def _as_field(pictures: Tensor) -> Field:
    present = torch.ones(len(pictures), dtype=torch.bool)
    return Field(pictures, present[:, None], present)


def _sheet(model: pm.Generator, made: Tensor, rows: Rows, count: int = 10) -> Any:
    """Ten pictures of each class, a class a row."""
    from polymodal.generation import contact

    labels = rows.column("label")[: len(made)]
    lines = []
    for label in sorted(set(labels)):
        chosen = [number for number, own in enumerate(labels) if own == label][:count]
        lines.append([model.fields["picture"].write(made[number]) for number in chosen])
    return contact(lines)


def guidance(bench: Evaluator) -> None:
    """What is chosen about the guidance of the flow on pixels, chosen on rows that no score is of."""
    model, data = bench.train(PICTURES["pixel-flow"], PICTURES["pixel-flow"])
    rows = data.validation  # read as the model reads them
    real = bench.classifier.features(column(rows, "picture"))[: bench.samples]
    columns = ("coherence", "kernel distance", "FID", "recall")
    table = Table("from", "scale", *columns, title=f"Guidance on {len(real):,} validation rows")
    result = {}
    for begin, scale in GUIDED:
        made, _ = bench.paint(model, rows, guidance=scale, guidance_interval=(begin, 1.0))
        features = bench.classifier.features(_as_field(made))
        found = result[f"{scale:g} from {begin:g}"] = {
            "coherence": bench.coherence(made, rows),
            "kernel_distance": kernel_distance(real, features),
            "fid": frechet_distance(real, features),
            "recall": neighbours(real, features).recall,
        }
        table.add_row(f"{begin:g}", f"{scale:g}", *(f"{value:.4f}" for value in found.values()))
        bench.keep("guidance", {"minutes": bench.minutes, "samples": len(real), **result})
    Console().print(table)


PARTS = {"pictures": pictures, "steps": steps, "speech": speech, "seeds": seeds, "guidance": guidance}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--families", nargs="+", choices=list(PICTURES), default=list(PICTURES), help="of `pictures`")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=8, help="of the classifier that judges")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/families"))
    parser.add_argument("--output", type=Path, default=RESULTS / "families.json")
    arguments = parser.parse_args()
    bench = Evaluator(arguments)
    for part in arguments.parts:
        PARTS[part](bench)


if __name__ == "__main__":
    main()
