"""A table with every column that a recipe asks for, small enough to train on in seconds: for tests and benchmarks."""

import json
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

WORDS = ("sandal", "ankle boot", "bag", "coat")
CHINESE = ("凉鞋", "短靴", "包", "外套")
STRUCTURES = ("CC(=O)O", "c1ccccc1O", "CC(C)=O", "C1CCCCC1=O")
ROWS = 32
SOME = ("picture", "name", "speech", "label", "structure", "trace")
"""For recipes that take the fields that there are: not every column under two names."""


def write_rows(folder: Path, columns: tuple[str, ...] | None = None) -> Path:
    """``rows.jsonl`` and its files: each kind of row has a colour, a pitch and words of its own.

    Args:
        folder: Where.
        columns: Those that the table has; all by default.
    """
    random, table = np.random.default_rng(0), []
    for number in range(ROWS):
        kind = number % len(WORDS)
        pixels = np.full((28, 28), 60 * kind + 20) + random.integers(0, 20, (28, 28))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        first, *rest = [Image.fromarray(np.roll(pixels, t, 1).astype(np.uint8)) for t in range(3 + number % 3)]
        first.save(folder / f"{number}.gif", save_all=True, append_images=rest, duration=120)
        time = np.arange(8000 + 200 * (number % 5)) / 16_000
        wave = 0.5 * np.sin(2 * np.pi * (200 + 100 * kind) * time)
        soundfile.write(folder / f"{number}.wav", wave, 16_000)
        np.save(folder / f"{number}.npy", random.normal(size=(80, 3)) * (1 + kind, 1, 2))
        table.append(
            {
                "icon": f"{number}.png",
                "shape": f"{number}.npy",
                "picture": f"{number}.png",
                "image": f"{number}.png",
                "caption": f"a picture of a {WORDS[kind]}",
                "name": WORDS[kind],
                "name_zh": CHINESE[kind],
                "label": WORDS[kind],
                "speech": f"{number}.wav",
                "structure": "C" * (number % 5) + STRUCTURES[kind],
                "trace": [[float(kind), step / 4] for step in range(10 + number % 5)],
                **dict.fromkeys(("logp", "mass", "tpsa", "rings", "donors"), number % 7 + kind / 4),
                "melting_point": 200.0 + 10 * kind,
                "boiling_point": 300.0 + 10 * kind + number % 3,
                "video": f"{number}.gif",
                "face": f"{number}.gif",
                "mouth": [[kind / 4 + step / 20] for step in range(6 + number % 5)],
                "text": f"a {WORDS[kind]} face",
                "short": WORDS[kind],
                "section": WORDS[kind],
                **dict.fromkeys(("long", "short_en", "short_fr", "short_de"), f"It is a {WORDS[kind]}, and no other."),
                "split": "validation" if number == 0 else "train",
            }
        )
    file = folder / "rows.jsonl"
    kept = [{name: row[name] for name in columns or row} for row in table]
    file.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return file
