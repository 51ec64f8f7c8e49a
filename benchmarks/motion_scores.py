"""What `any-to-any` draws of the names in `emoji-motion`: clips that move.

A clip is right if, of all training clips, the nearest one has the asked name: by its first frame alone (``still``), and
by all frames (``moving``), in pixels. Beside it stand what a random training clip scores (chance), and `motion`, how
much a pixel changes from frame to frame, over that of real clips: a clip that stands still is no film. Names of the
data set are all in training, so that what is asked for is known by heart and not made up.
"""

import argparse

import torch
from rich.console import Console
from torch import Tensor

import polymodal as pm
from fashion_scores import Ours, Results, everything
from polymodal.data.emoji_motion import FIELDS
from polymodal.generation import contact, write
from polymodal.modalities.video import film_strip
from polymodal.types import Field

SHOWN = 12
SIDE = 16
"""Pixels of a side in which clips are compared: what differs below is how they are drawn, not what they show."""


def measure(arguments: argparse.Namespace, seed: int, results: Results) -> None:
    """Trains and scores with a seed."""
    source = f"emoji-motion:parts={arguments.parts_of_npm},voices=2"
    chosen = {"train.clock": "processor", "train.seed": seed, "train.minutes": arguments.minutes}
    if arguments.steps:
        chosen = {"train.steps": arguments.steps, "train.seed": seed}
    data = pm.load(source, {name: FIELDS[name] for name in ("video", "name")})
    model = pm.fit("any-to-any", data, run=arguments.folder / f"emoji-motion-seed-{seed}", set=chosen)
    # One row of each name: more would be the same clip, said by another voice.
    first = dict(reversed([(name, place) for place, name in enumerate(data.train.column("name"))]))
    rows = data.train.select(torch.tensor(sorted(first.values())))
    made = Ours(model, seed)(everything(rows.only("name")), ["video"], len(rows))["video"]
    real = everything(rows.only("video"))["video"]
    clips = write(model.fields["video"], made)
    folder = model.run / "made"
    folder.mkdir(exist_ok=True)
    contact([[film_strip(clip)] for clip in clips[:SHOWN]]).save(folder / "strips.png")
    for number, clip in enumerate(clips[:SHOWN]):
        clip.save(folder / f"{number}.webp")
    known, ours = seen(real), seen(made)
    frames = min(known.shape[1], ours.shape[1])
    scores = {
        "names": len(rows),
        "still": nearest(ours[:, :1], known[:, :1]),
        "moving": nearest(ours[:, :frames], known[:, :frames]),
        "chance": 1 / len(rows),
        "motion over real": float(motion(ours) / motion(known)),
    }
    results.keep(scores, "emoji-motion", f"seed {seed}")
    Console().print(f"emoji-motion, seed {seed}:", scores)


def seen(clips: Field) -> Tensor:
    """(n, frames, channels, SIDE, SIDE) the clips, small."""
    value = clips.value.transpose(1, 2)
    small = torch.nn.functional.interpolate(value.flatten(0, 1), (SIDE, SIDE), mode="area")
    return small.view(*value.shape[:3], SIDE, SIDE)


def nearest(made: Tensor, known: Tensor) -> float:
    """How often the nearest known clip is the one in the same place."""
    distances = torch.cdist(made.flatten(1), known.flatten(1))
    return float((distances.argmin(1) == torch.arange(len(made))).float().mean())


def motion(clips: Tensor) -> Tensor:
    return clips.diff(dim=1).abs().mean()
