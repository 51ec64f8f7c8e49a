"""What the recipes reach that families.py leaves out, on held-out rows of `fashion` and on pictures of emoji.

    python benchmarks/recipes.py [--recipes audio-to-image dcgan] [--minutes 5] [--folder runs/recipes]

- ``audio-to-image``, ``image-to-audio``: how often what is made of a test row's speech (voices never heard) or picture
  is of the row's class.
- ``text-to-audio``: how often pocketsphinx hears the name in what is said of a test row's caption: by the recipe's
  vocoder, and by Griffin-Lim from the same spectrograms.
- ``mvae``, ``mmvae``, ``mmvae-plus``: the same from each of picture, caption and speech to each other; and how often
  all three agree where they are made of nothing, from a mixture fitted to the latents of the training rows.
- ``text-vae``: latent dimensions in use, divergence and likelihood in nats; how often a test caption's class is kept
  from caption to latent to likeliest caption, and how often captions drawn from the prior name a class.
- ``dcgan``: a folder of pictures is made of the emoji without skin tones, with a folder for each of their groups; a
  tenth of the concepts is held out. Distances from the training pictures are in the features of a classifier of the
  groups, beside those of the pictures held out.

A picture's class is what a classifier of real pictures sees, a sound's what pocketsphinx hears with the ten names as
its grammar. Pictures to look at and sounds to hear lie in each run's folder ``made``. A run that is there is not
trained again, and one that was stopped goes on. Prints the scores and writes benchmarks/results/recipes.json. The extra
``demo`` is needed, and Debian's package `dataset-fashion-mnist` or the hub.
"""

import argparse
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import polymodal as pm
from classifier import Classifier, set_apart
from fashion_scores import MODALITIES, Fashion, Ours, Results, everything, first, mean, share
from polymodal.checkpoint import find
from polymodal.data.emoji.cells import draw
from polymodal.data.emoji.concepts import load_concepts
from polymodal.data.fashion import class_of
from polymodal.evaluation.metrics import frechet_distance
from polymodal.generation import contact, generate_rows, write
from polymodal.heads.likelihoods import Ids
from polymodal.heads.vae import VariationalAutoencoder
from polymodal.modalities import Audio
from polymodal.nn.random import make_keys, normal
from polymodal.types import Field
from record import RESULTS, figure
from set_metrics import neighbours

HEARD = 500
"""Rows that are spoken: to hear takes longer than all the rest."""
BOUND_DRAWS = 16


class Evaluator:
    """What the scores share: settings, judges, trained models.

    Args:
        arguments: Of the command line.
    """

    def __init__(self, arguments: argparse.Namespace):
        self.folder, self.seed = arguments.folder, arguments.seed
        self.budget = {"steps": arguments.steps} if arguments.steps else {"minutes": arguments.minutes}
        self.samples, self.classifier = arguments.samples, arguments.classifier
        self._fashion: Fashion | None = None

    @property
    def fashion(self) -> Fashion:
        if self._fashion is None:
            self._fashion = Fashion(self.classifier)
        return self._fashion

    def train(self, recipe: str, source: str = "fashion") -> pm.Generator:
        """The trained generator of a recipe, from its folder if it is there."""
        chosen = {f"train.{name}": value for name, value in self.budget.items()} | {"train.seed": self.seed}
        return pm.fit(recipe, source, run=self.folder / recipe, set=chosen)

    def right(self, recipe: str, model: pm.Generator, given: str, to: str) -> float:
        """How often what is made of one field of a test row is of its class; some of it is kept, to look at."""
        rows = first(model.data().test, HEARD if to == "speech" else self.samples)
        made = Ours(model, self.seed)(everything(rows.only(given)), [to], len(rows))[to]
        self.show(recipe, model, to, made, rows.column("label"))
        return share(self.fashion.classes(to, made, model.fields), rows.column("label"))

    def show(self, recipe: str, model: pm.Generator, name: str, made: Field, labels: list[str], count: int = 8) -> None:
        """Pictures on a sheet, a class a line, or a sound of each class, in the run's folder ``made``."""
        folder, modality = self.folder / recipe / "made", model.fields[name]
        folder.mkdir(exist_ok=True)
        chosen = {
            label: list(islice((i for i, own in enumerate(labels) if own == label), count))
            for label in sorted(set(labels))
        }
        if name == "picture":
            lines = [[modality.write(made.value[i]) for i in places] for places in chosen.values()]
            contact(lines).save(folder / f"{name}.png")
        elif name == "speech":
            for label, (place, *_) in chosen.items():
                write(modality, made.pick(torch.tensor([place])))[0].save(folder / f"{label.replace(' ', '-')}.wav")


def one_way(bench: Evaluator, recipe: str) -> dict[str, Any]:
    """A recipe with one input and one output."""
    given, to = {"audio-to-image": ("speech", "picture"), "image-to-audio": ("picture", "speech")}[recipe]
    return {f"{given} to {to}": bench.right(recipe, bench.train(recipe), given, to)}


def speech(bench: Evaluator, recipe: str) -> dict[str, Any]:
    """Caption -> speech, the same spectrograms made heard in two ways."""
    model = bench.train(recipe)
    audio = model.fields["speech"]
    assert isinstance(audio, Audio)
    scores = {"caption to speech": bench.right(recipe, model, "caption", "speech")}
    if audio.vocoder:
        audio.vocoder = None
        scores["by Griffin-Lim"] = bench.right(recipe, model, "caption", "speech")
    return scores


def joint(bench: Evaluator, recipe: str) -> dict[str, Any]:
    """A joint latent of three fields."""
    model = bench.train(recipe)
    scores: dict[str, Any] = {
        f"{given} to {to}": bench.right(recipe, model, given, to)
        for given in MODALITIES
        for to in MODALITIES
        if given != to
    }
    scores["mean"] = mean(scores)
    model.fit_prior(kind="mixture", seed=bench.seed)
    made = Ours(model, bench.seed)({}, MODALITIES, HEARD)
    bench.show(recipe, model, "picture", made["picture"], ["from nothing"] * HEARD)
    classes = zip(*(bench.fashion.classes(name, made[name], model.fields) for name in MODALITIES), strict=True)
    scores["all agree, from nothing"] = (
        sum(one is not None and one == two == three for one, two, three in classes) / HEARD
    )
    return scores


def text_vae(bench: Evaluator, recipe: str) -> dict[str, Any]:
    """Captions from a latent space."""
    model = bench.train(recipe)
    head, rows = model.model.heads["caption"], first(model.data().test, bench.samples)
    assert isinstance(head, VariationalAutoencoder)
    assert isinstance(head.ends, Ids)
    keys, everywhere = make_keys(bench.seed, len(rows)), torch.ones(len(rows), dtype=torch.bool)
    target, captions = everything(rows.only("caption"))["caption"], rows.column("caption")
    with torch.no_grad():
        context = model.model.condition({}, {}, keys).context
        mean, log_std = head.posterior(context, target)
        drawn = mean + log_std.exp() * normal(keys, (head.latent,))
        divergence = head.prior.divergence(mean, log_std, drawn, context.pooled).sum(1).mean()
        again = write(model.fields["caption"], head.ends.sample(mean, context, keys, decoder_temperature=0.0))
    made = write(model.fields["caption"], generate_rows(model.model, {}, {}, {"caption": everywhere}, keys)["caption"])
    (bench.folder / recipe / "made.txt").write_text("\n".join(made) + "\n")
    return {
        "latent dimensions": head.latent,
        "active": head.active_units(context, target),
        "divergence, nats": float(divergence),
        f"bound of {BOUND_DRAWS} draws, nats": -float(
            head.log_likelihood(context, target, keys, samples=BOUND_DRAWS).mean()
        ),
        "class kept": share([class_of(caption) for caption in again], rows.column("label")),
        "caption kept": share(again, captions),
        "drawn captions that name a class": sum(class_of(caption) is not None for caption in made) / len(made),
        "drawn captions that are in the data": share(
            [caption in set(captions) for caption in made], [True] * len(made)
        ),
        "distinct": len(set(made)) / len(made),
    }


def dcgan(bench: Evaluator, recipe: str) -> dict[str, Any]:
    """Pictures of emoji."""
    source = emoji_folder(bench.folder / "emoji")
    fields = {"picture": {"modality": "image", "column": "image", "size": 64}, "label": {"modality": "label"}}
    data = pm.load(source, fields)
    learned, unseen = set_apart(data.train, 1 / 3)
    classifier = Classifier.train(learned, data.test, folder=bench.folder / "emoji-classifier")
    real, held_out = (classifier.features(everything(rows.only("picture"))["picture"]) for rows in (unseen, data.test))
    model = bench.train(recipe, str(source))
    everywhere, keys = torch.ones(bench.samples, dtype=torch.bool), make_keys(bench.seed, bench.samples)
    made = generate_rows(model.model, {}, {}, {"picture": everywhere}, keys)["picture"]
    bench.show(recipe, model, "picture", made, [str(number % 8) for number in range(bench.samples)])
    features = classifier.features(made)
    near, floor = neighbours(real, features), neighbours(real, held_out)
    return {
        "FID": frechet_distance(real, features),
        "FID of held-out pictures": frechet_distance(real, held_out),
        "precision": near.precision,
        "precision of held-out pictures": floor.precision,
        "recall": near.recall,
    }


def minutes(run: Path) -> float:
    """What all stages of a training took."""
    stages = [file.read_text().splitlines()[-1] for file in run.rglob("metrics.jsonl")]
    return sum(json.loads(line)["seconds"] for line in stages) / 60


def emoji_folder(folder: Path) -> Path:
    """Emoji without skin tones in two styles, ``split/group/code-style.png``; of ten concepts one is for the test."""
    concepts = [concept for concept in load_concepts(()) if concept.skin_tone == "none" and concept.group]
    for concept in concepts:
        place = folder / ("train" if concept.order % 10 else "test") / str(concept.group)
        place.mkdir(parents=True, exist_ok=True)
        for style, svg in concept.pictures.items():
            file = place / f"{concept.code}-{style}.png"
            if not file.exists():
                file.write_bytes(draw(svg, 64))
    return folder


SCORES: dict[str, Callable[[Evaluator, str], dict[str, Any]]] = {
    "audio-to-image": one_way,
    "image-to-audio": one_way,
    "text-to-audio": speech,
    "mvae": joint,
    "mmvae": joint,
    "mmvae-plus": joint,
    "text-vae": text_vae,
    "dcgan": dcgan,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=list(SCORES), default=list(SCORES))
    parser.add_argument("--minutes", type=float, default=5.0, help="of each training, on one core")
    parser.add_argument("--steps", type=int, help="of each training, in place of minutes: where the core is shared")
    parser.add_argument("--samples", type=int, default=1000, help="held-out rows, or pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--classifier", type=Path, default=Path("runs/families/classifier"))
    parser.add_argument("--output", type=Path, default=RESULTS / "recipes.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench, results = Evaluator(arguments), Results(arguments.output)
    for recipe in arguments.recipes:
        scores = SCORES[recipe](bench, recipe)
        budget = {"minutes": minutes(bench.folder / recipe), "steps": find(bench.folder / recipe).step}
        results.keep({**budget, "seed": bench.seed, **scores}, "results", recipe)
        told = ", ".join(f"{name} {figure(value)}" for name, value in (budget | scores).items())
        Console().print(f"{recipe}: {told}")


if __name__ == "__main__":
    main()
