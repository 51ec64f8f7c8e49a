"""What recipes reach on `moving`: captions to clips, a picture and a caption to clips, clips to captions.

- Class: a classifier of real pictures, none of which a generator has seen, looks at what is tracked in four frames of a
  clip. Path: the tracked way has to be the caption's, straight and whole. Both: of one clip.
- Held-out pairs: of class and motion, which no training row shows together.
- The Fréchet distance is between the clips that are made and as many real clips of other test rows, in the
  classifier's features of what is tracked, its places, its steps from frame to frame, and how much of it there is in
  each frame, all in units of their deviations; beside that of the real clips of the same rows, of these with their
  frames shuffled, and of retrieval.
- Retrieval, the cheapest honest baseline: the training clip whose caption shares most words with the test row's.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console

import polymodal as pm
from classifier import Classifier
from fashion_scores import Ours, Results, everything, first, share, trained
from polymodal.data import Rows, cache_folder
from polymodal.data.fashion.captions import LABELS
from polymodal.data.fashion.pictures import SIZE, find
from polymodal.data.fashion.rows import choose
from polymodal.data.moving import DEFAULT_TRAIN, FIELDS, centres, frames_of, motion_of, told
from polymodal.data.moving.rows import draw_row
from polymodal.data.moving.tracking import masses
from polymodal.evaluation.metrics import frechet_distance
from polymodal.generation import contact, write
from polymodal.modalities.video import film_strip
from polymodal.types import Batch, Field

JUDGED_ON = 12_000
"""Pictures that the judge learns from, of those that no row of the data set shows."""
LOOKED_AT = (1, 5, 10, 14)
"""Frames of a clip that the judge looks at."""
LEAST_UNIT = 0.05
"""Of a feature's deviation: what hardly varies among real clips, as how much of a thing a frame shows, would else be
all that counts."""
SHOWN = 12
"""Clips of each recipe that are kept as films and on a sheet."""

RECIPES = ("text-to-video", "image-to-video", "video-to-text")

Scores = dict[str, float]


class Judge:
    """Sees the class of what moves in a clip.

    Args:
        arguments: Of the command line.
    """

    def __init__(self, arguments: argparse.Namespace):
        pictures, labels = find(None, cache_folder())["train"]
        used = set(choose(labels, arguments.train or DEFAULT_TRAIN)[0])
        free = [place for place in range(len(labels)) if place not in used][:JUDGED_ON]
        rows = [{"picture": self.seen(place, pictures, labels), "label": LABELS[labels[place]]} for place in free]
        fields = {"picture": pm.Image(size=SIZE, channels=1), "label": pm.Label()}
        data = pm.load(rows, fields, validation=0.0, test=0.1)
        self.classifier = Classifier.train(data.train, data.test, epochs=8, folder=arguments.folder / "judge-of-moving")
        self.modality = fields["picture"]

    @staticmethod
    def seen(place: int, pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """What would be tracked in a clip of a picture."""
        row = draw_row("train", place, LABELS[labels[place]])
        return tracked(frames_of(row, pictures[place])[:1])[0].copy()  # not a view, which would keep the whole frame

    def look(self, clips: Sequence[np.ndarray]) -> tuple[list[str], torch.Tensor]:
        """Classes of clips (T, H, W) of bytes, and their features (n, F)."""
        crops = np.stack([crop for clip in clips for crop in tracked(clip)])[:, None]
        values = self.modality.to_model(torch.from_numpy(crops))
        field = Field.full(values)
        logits = self.classifier.logits(field).view(len(clips), len(LOOKED_AT), -1).mean(1)
        features = self.classifier.features(field).view(len(clips), len(LOOKED_AT), -1).mean(1)
        ways = torch.tensor(np.stack([centres(clip) for clip in clips]))
        light = torch.tensor(np.stack([masses(clip) / max(masses(clip).max(), 1e-9) for clip in clips]))
        names = [self.classifier.classes[i] for i in logits.argmax(1).tolist()]
        return names, torch.cat([features.double(), ways.flatten(1), ways.diff(dim=1).flatten(1), light], dim=1)


def tracked(frames: np.ndarray) -> list[np.ndarray]:
    """The surroundings (SIZE, SIZE) of the centre of what moves, in a few frames."""
    margin = SIZE // 2
    padded = np.pad(frames, ((0, 0), (margin, margin), (margin, margin)))
    places = np.rint(centres(frames)).astype(int)
    chosen = [min(frame, len(frames) - 1) for frame in LOOKED_AT]
    return [padded[t, places[t, 1] : places[t, 1] + SIZE, places[t, 0] : places[t, 0] + SIZE] for t in chosen]


def measure(arguments: argparse.Namespace, seed: int, results: Results) -> None:
    """Trains and scores all recipes with a seed."""
    judge = Judge(arguments)
    data = pm.load(source(arguments), {name: FIELDS[name] for name in ("video", "picture", "caption")})
    rows = first(data.test, arguments.samples)
    place = ("moving", f"seed {seed}")

    def keep(scores: Any, name: str) -> None:
        results.keep(scores, *place, name)
        Console().print(f"moving, seed {seed}, {name}:", scores)

    others = data.test.select(torch.arange(len(rows), min(2 * len(rows), len(data.test))))
    real, known = clips_of(rows), judge.look(clips_of(others))[1]
    keep(scored(real, rows, judge, known), "real")
    shuffle = np.random.default_rng(seed)
    keep(scored([clip[shuffle.permutation(len(clip))] for clip in real], rows, judge, known), "real, frames shuffled")
    keep(scored(clips_of(retrieved(rows, data.train)), rows, judge, known), "retrieval")
    for recipe, given in {"text-to-video": ["caption"], "image-to-video": ["picture", "caption"]}.items():
        if recipe not in arguments.recipes:
            continue
        model = trained(recipe, source(arguments), arguments, seed)
        made = Ours(model, seed)(asked(model, rows, *given), ["video"], len(rows))["video"]
        clips = write(model.model.modalities["video"], made)
        folder = arguments.folder / f"{recipe}-seed-{seed}" / "made"
        folder.mkdir(exist_ok=True)
        strips = [[film_strip(clip)] for clip in clips[:SHOWN]]
        contact(strips).save(folder / "strips.png")
        for number, clip in enumerate(clips[:SHOWN]):
            clip.save(folder / f"{number}.mp4")
        frames = [lasting(clip.frames[..., 0], len(real[0])) for clip in clips]
        scores = scored(frames, rows, judge, known)
        if "picture" in given:
            errors = [np.abs(made[0].astype(float) - own[0]).mean() for made, own in zip(frames, real, strict=True)]
            scores["first frame, mean absolute error of 255"] = float(np.mean(errors))
        keep(scores, recipe)
    if "video-to-text" not in arguments.recipes:
        return
    model = trained("video-to-text", source(arguments), arguments, seed)
    made = Ours(model, seed)(asked(model, rows, "video"), ["caption"], len(rows))["caption"]
    found = [told(text) for text in write(model.model.modalities["caption"], made)]
    keep(agreement([label for label, _ in found], [motion for _, motion in found], rows), "video-to-text")


def asked(model: pm.Generator, rows: Rows, *names: str) -> Batch:
    """Fields of test rows as the model reads them: ids of a vocabulary of its own, not of another reading's."""
    own = first(model.data().test, len(rows))
    assert own.column("caption") == rows.column("caption")
    return everything(own.only(*names))


def source(arguments: argparse.Namespace) -> str:
    """The data set, with its options; in one voice, as nothing that is measured is heard."""
    return f"moving:train={arguments.train or DEFAULT_TRAIN},voices=1"


def lasting(clip: np.ndarray, count: int) -> np.ndarray:
    """So many frames of a clip; one that is shorter stands still at its end."""
    return clip[np.minimum(np.arange(count), len(clip) - 1)]


def clips_of(rows: Rows) -> list[np.ndarray]:
    """Frames (T, H, W) of bytes of each row."""
    modality = rows.fields["video"]
    return [clip.frames[..., 0] for clip in write(modality, everything(rows.only("video"))["video"])]


def retrieved(rows: Rows, train: Rows) -> Rows:
    """For each row the training row whose caption shares the largest part of all words with its own."""
    captions = [set(text.replace(",", "").split()) for text in train.column("caption")]
    words = {word: number for number, word in enumerate(sorted(set().union(*captions)))}
    table = np.zeros((len(captions), len(words)), np.float32)
    for number, caption in enumerate(captions):
        table[number, [words[word] for word in caption]] = 1
    nearest = []
    for text in rows.column("caption"):
        own = set(text.replace(",", "").split())
        common = table[:, [words[word] for word in own if word in words]].sum(1)
        nearest.append(int((common / (table.sum(1) + len(own) - common)).argmax()))
    return train.select(np.array(nearest))


def scored(clips: Sequence[np.ndarray], rows: Rows, judge: Judge, known: torch.Tensor) -> Scores:
    """Scores of clips made for rows, and the distance of their features from those that are known of real clips."""
    classes, features = judge.look(clips)
    unit = known.std(0).clamp(min=LEAST_UNIT)
    distance = frechet_distance(known / unit, features / unit)
    return agreement(classes, [motion_of(clip) for clip in clips], rows) | {"Fréchet distance": distance}


def agreement(classes: Sequence[Any], motions: Sequence[Any], rows: Rows) -> Scores:
    """How often class, motion and both are those of the rows' captions; both, of pairs that are held out as well."""
    labels = rows.column("label")
    wanted = [tuple(motion.split("-")) for motion in rows.column("motion")]
    pairs, right = list(zip(classes, motions, strict=True)), list(zip(labels, wanted, strict=True))
    new = [number for number, kind in enumerate(rows.column("held_out")) if kind == "pair"]
    return {
        "class": share(classes, labels),
        "path": share(motions, wanted),
        "both": share(pairs, right),
        "both, held-out pairs": share([pairs[i] for i in new], [right[i] for i in new]),
    }
