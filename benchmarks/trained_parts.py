"""The parts that come trained, beside those that learn in a run's own minutes.

    apt-get install sweethome3d-furniture
    python benchmarks/trained_parts.py FOLDER [--parts reconstruction generation encoders] [--sides 64 128 256]

FOLDER is that of ``package_pictures.py``, which downloads what is not there yet. The photographs that are
reconstructed are of packages that nothing learned from, each a square shrunk to 64, 128 and 256 pixels a side. A run's
own codecs learn from 768 photographs of that size, of the packages that the shipped one learned from, for what
``any-to-any`` gives its codecs of five minutes: 0.6 minutes of the processor. Two of them: as ``any-to-any`` has it,
with 16 numbers for 8 x 8 pixels, and with 32, as many as the shipped one has. Peak signal-to-noise ratio in decibels
(more is better) and distance of structure, 1 - SSIM (less is better), means over photographs. Bar: at least 4 dB better
than any-to-any's.

Then a few hundred rows of one's own: names of furniture -> icons of 64 x 64 pixels, from names that were never seen, by
``any-to-any`` after ``--run-minutes`` of the processor on 512 rows: as it is, with the shipped codec and the head that
goes with it, and ``from_scratch``, with a codec of its own minutes and the head that goes with that. Kernel distance
(less is better) in the features of a classifier that learned categories from all training rows, and the share of icons
in which it sees the name's category, beside real ones. Furniture is in nothing that the codec learned from. This part
needs no photographs, and leaves sheets of icons in FOLDER, real ones above. Figures of a part that is not named stay.

``encoders``: names, icons and categories of the same rows, read by the encoders of ``any-to-any``, by those that come
trained, by these while they learn as well (``tune``), and by that of pictures alone while it learns. Each run has
``--encoder-minutes`` of the processor, for categories alone and the alignment of names and icons. Shares of rows that
no training saw: the category that is found right from the icon, from the name and from both, and how often a row's own
icon is the nearest to its name, and among the nearest five, and the reverse. Furniture is in nothing that these
encoders learned from.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import polymodal as pm
from classifier import Classifier
from package_pictures import HELD_OUT, SOURCES, Source, pictures, square
from polymodal.codecs import Codec
from polymodal.codecs.trained import TrainedAutoencoder
from polymodal.config import load_recipe
from polymodal.embedding import AlignedEmbedder
from polymodal.evaluation.metrics.psnr import psnr
from polymodal.evaluation.metrics.ssim import ssim
from polymodal.generation import contact
from polymodal.types import Field, Space
from record import RESULTS, about, save
from set_metrics import kernel_distance

PARTS = ("reconstruction", "generation", "encoders")
PHOTOGRAPHS, ROWS, DRAWS = 768, 512, 4
CODECS = ("its own", "trained")
FROZEN, TUNED = {"kind": "trained"}, {"kind": "trained", "tune": True}
READERS: dict[str, dict[str, dict[str, Any]]] = {
    "its own": {"icon": {"kind": "picture", "depth": 1, "augment": 0.3}},
    "trained": {"icon": FROZEN, "name": FROZEN},
    "tuned": {"icon": TUNED, "name": TUNED},
    "tuned, icons alone": {"icon": TUNED},
}
"""Encoders of fields; that of a field which is not named is ``any-to-any``'s own."""
FURNITURE = {
    "name": {"modality": "text", "max_length": 48},
    "icon": {"modality": "image", "size": 64},
    "category": {"modality": "label"},
}


def photographs(sources: tuple[Source, ...], folder: Path, side: int, most: int | None = None) -> list[Image.Image]:
    """Squares of the photographs of packages, in order."""
    found: list[Image.Image] = []
    for source in sources:
        if source.kind == "photograph":
            for _, picture in pictures(source, folder):
                if min(picture.size) >= side:
                    found.append(square(picture, side))
                if len(found) == most:
                    return found
    return found


def learned(pictures_of_run: list[Image.Image], side: int, minutes: float, latent: int) -> Codec:
    """The codec of a run of ``any-to-any``, after its own minutes."""
    codec = {**load_recipe("any-to-any").defaults["image"].from_scratch.codec, "latent": latent}
    recipe = {
        "width": 16,
        "fields": {
            "kind": {"modality": "label", "role": "input"},
            "picture": {"modality": "image", "size": side, "role": "output", "codec": codec,
                        "head": {"kind": "flow", "hidden_size": 16, "depth": 1}},
        },
        "train": {"minutes": minutes / 0.95, "codec_share": 0.95, "clock": "processor", "codec_batch_size": 8,
                  "codec_learning_rate": 3e-3},
    }  # fmt: skip
    rows = [{"picture": picture, "kind": "photograph"} for picture in pictures_of_run]
    data = pm.load(rows, {"kind": {"modality": "label"}, "picture": {"modality": "image", "size": side}}, test=0)
    with tempfile.TemporaryDirectory() as folder:
        return pm.fit(recipe, data, run=Path(folder) / "run", print_progress=False).model.codecs["picture"]


@torch.no_grad()
def scores(codec: Codec, value: Tensor) -> dict[str, float]:
    made = torch.cat([codec.decode(codec.encode(Field.full(part))).value for part in value.split(8)])
    return {"psnr": float(psnr(made, value).mean()), "distance": float(1 - ssim(made, value).mean())}


def reconstruction(folder: Path, sides: list[int], minutes: float) -> list[dict[str, Any]]:
    """Scores of every codec at every side."""
    rows = []
    for side in sides:
        unseen = photographs(HELD_OUT, folder, side)
        value = torch.from_numpy(np.stack(unseen)).permute(0, 3, 1, 2) / 127.5 - 1
        own = photographs(SOURCES, folder, side, PHOTOGRAPHS)
        space = Space("continuous", (3, side, side), bounds=(-1.0, 1.0))
        codecs: dict[str, Codec] = {"trained": TrainedAutoencoder(space)}
        codecs |= {f"kl, {latent}": learned(own, side, minutes, latent) for latent in (16, 32)}
        for name, codec in codecs.items():
            rows.append({"side": side, "codec": name, "photographs": len(unseen), **scores(codec, value)})
            print("{side:4d} {codec:8s} {photographs:3d} photographs: {psnr:.2f} dB, {distance:.3f}".format(**rows[-1]))
    return rows


def generation(minutes: float, seed: int, sheets: Path, codecs: Sequence[str]) -> list[dict[str, Any]]:
    """Scores of icons from names, by codec; a sheet of them is left in a folder."""
    data = pm.load("furniture:meshes=false", FURNITURE)
    judge = Classifier.train(data.train, data.test, picture="icon", label="category", epochs=12, width=16, seed=seed)
    asked = [{"name": name} for name in data.test.column("name")]
    truth = data.test.decode(data.test.batch(np.arange(len(data.test))))["icon"].value
    rows: list[dict[str, Any]] = [{"codec": "real", "category": judge.accuracy}]
    for name in codecs:
        with tempfile.TemporaryDirectory() as run:
            settings = {"train.minutes": minutes, "train.clock": "processor", "train.seed": seed}
            settings["from_scratch"] = name == "its own"
            model = pm.fit("any-to-any", few(data, seed), run=Path(run) / "run", print_progress=False, set=settings)
            made = [row["icon"] for row in model.generate_batch(asked * DRAWS, "icon", seed=seed)]
        image = model.fields["icon"]
        icons = torch.stack([image.to_model(torch.from_numpy(image.read(icon))) for icon in made])
        right = [a == b for a, b in zip(judge.predict(icons), data.test.column("category") * DRAWS, strict=True)]
        distance = kernel_distance(judge.features(truth), judge.features(icons))
        rows.append({"codec": name, "minutes": minutes, "category": float(np.mean(right)), "kernel": distance})
        print(rows[-1], flush=True)
        first = [[made[draw * len(asked) + place] for place in range(16)] for draw in range(3)]
        contact([[data.test[place]["icon"] for place in range(16)], *first]).save(sheets / f"{name}.png")
    return rows


def few(data: pm.Data, seed: int) -> pm.Data:
    """The data with ``ROWS`` rows to learn from."""
    return replace(data, train=data.train.select(np.random.default_rng(seed).permutation(len(data.train))[:ROWS]))


def encoders(minutes: float, seeds: Sequence[int], readers: Sequence[str]) -> list[dict[str, Any]]:
    """Scores of what is told of names and icons that were never seen, by encoder and seed."""
    data = pm.load("furniture:meshes=false", FURNITURE)
    categories = data.test.column("category")
    usual = Counter(data.train.column("category")).most_common(1)[0][0]
    chance = {"category": float(np.mean([category == usual for category in categories])), "first": 1 / len(data.test)}
    rows: list[dict[str, Any]] = [{"encoder": "chance", **chance}]
    for seed, name in product(seeds, readers):
        fields = {field: FURNITURE[field] | {"role": "input"} for field in ("name", "icon")}
        fields |= {field: fields[field] | {"encoder": part} for field, part in READERS[name].items()}
        fields["category"] = FURNITURE["category"] | {"role": "output"}
        settings = {"train.minutes": minutes, "train.clock": "processor", "train.seed": seed, "fields": fields}
        with tempfile.TemporaryDirectory() as run:
            model = pm.fit("any-to-any", few(data, seed), run=Path(run) / "run", print_progress=False, set=settings)
            found: dict[str, Any] = {"encoder": name, "seed": seed, "minutes": minutes}
            for given in (["icon"], ["name"], ["name", "icon"]):
                asked = [
                    {field: row[field] for field in given} for row in (data.test[k] for k in range(len(data.test)))
                ]
                made = model.generate_batch(asked, "category", options={"category": {"temperature": 0.0}})
                right = [row["category"] == category for row, category in zip(made, categories, strict=True)]
                found["category by " + " and ".join(given)] = float(np.mean(right))
            embedder = AlignedEmbedder.measure(model.model, few(data, seed).train)
            places = {field: embedder.embed_rows(field, data.test) for field in ("name", "icon")}
        for one, other in (("name", "icon"), ("icon", "name")):
            scores = places[one] @ places[other].T
            rank = (scores > scores.diagonal()[:, None]).sum(1)
            found |= {f"{one} -> {other}, first {n}": float((rank < n).float().mean()) for n in (1, 5)}
        rows.append(found)
        print(rows[-1], flush=True)
    return rows


def pieced(told: dict[str, Any], result: dict[str, Any], output: Path) -> dict[str, Any]:
    """What a call measured, with the figures of other parts that a file has of earlier calls, which are named."""
    known = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    calls = known.get("calls", {}) | {part: {key: told[key] for key in ("command", "commit")} for part in result}
    told["command"] = "\n".join(dict.fromkeys(call["command"] for call in calls.values()))
    if len({call["commit"] for call in calls.values()}) > 1:
        told["commit"] = "; ".join(f"{part} {call['commit']}" for part, call in calls.items())
    return told | {"calls": calls} | {part: result.get(part, known.get(part)) for part in PARTS if part in calls}


def kept(output: Path, part: str, kind: str, measured: Sequence[Any]) -> list[dict[str, Any]]:
    """Of a file, the figures of a part by codecs or encoders that were not measured now."""
    known = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    return [row for row in known.get(part, []) if row[kind] not in [now[kind] for now in measured]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=0.6)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--run-minutes", type=float, default=2.0)
    parser.add_argument("--encoder-minutes", type=float, default=2.0)
    parser.add_argument("--encoder-seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=CODECS, help="of `generation`")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS), help="of `encoders`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "trained_parts.json")
    arguments = parser.parse_args()
    begin, result = time.perf_counter(), dict[str, Any]()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if "reconstruction" in arguments.parts:
        result["reconstruction"] = reconstruction(arguments.folder, arguments.sides, arguments.minutes)
    if "generation" in arguments.parts:
        rows = generation(arguments.run_minutes, arguments.seed, arguments.folder, arguments.codecs)
        result["generation"] = rows + kept(arguments.output, "generation", "codec", rows)
    if "encoders" in arguments.parts:
        rows = encoders(arguments.encoder_minutes, arguments.encoder_seeds, arguments.readers)
        result["encoders"] = rows + kept(arguments.output, "encoders", "encoder", rows)
    told = about(time.perf_counter() - begin, seed=arguments.seed) | {"minutes": arguments.minutes}
    save(pieced(told, result, arguments.output), arguments.output)


if __name__ == "__main__":
    main()
