"""The built-in data set ``fashion``: Fashion-MNIST's pictures, captions, and the classes' names in many voices.

Near to MNIST-SVHN-Text, which multimodal generators are compared on. The pictures come from a folder, Debian's package
or the hub; the extra ``demo`` installs the voices.

Splits. ``test`` is the official one. ``validation`` is 2,000 rows of the official training rows, 200 of each class.
Every test row's picture is new and its speech comes from one of two voices that no other row has, so ``held_out`` says
``voice``.

Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms",
2017.
"""

import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from polymodal.data.build_dataset import assembled, check, identify, installed, make_cells, write_table
from polymodal.data.fashion.captions import KINDS, LABELS, NAMES, SYNONYMS, TEMPLATES, class_of
from polymodal.data.fashion.pictures import Split, content, find, png
from polymodal.data.fashion.rows import HELD_OUT_VOICES, TRAINING_VOICES, Row, plan, training_rows, utterances
from polymodal.files import short_digest

__all__ = ["FIELDS", "HELD_OUT_VOICES", "KINDS", "LABELS", "NAMES", "SYNONYMS", "TEMPLATES", "TRAINING_VOICES", "build",
           "class_of"]  # fmt: skip

FIELDS = {
    "picture": {"modality": "image", "size": 28, "channels": 1},
    "caption": {"modality": "text", "max_length": 40},
    "name": {"modality": "text", "max_length": 12},
    "label": {"modality": "label"},
    "speech": {"modality": "audio", "sample_rate_hz": 16_000, "max_seconds": 1.0},
    "voice": {"modality": "label"},
}
"""What the columns are made of, as a recipe would say it."""

CREDITS = {
    "hibari-tts": "speech (voice heart): hibari, Apache-2.0",
    "espeakng-loader": "speech (all other voices): eSpeak NG, GPL-3.0-or-later",
}
PICTURES_CREDIT = "pictures: Fashion-MNIST, copyright 2017 Zalando SE, MIT"
_FORMAT = 1  # raise it when the same options give other rows
_WORKERS = 2  # no option: eSpeak's clips depend a little on what it spoke before, so other workers would make others

_check = partial(check, "fashion")
_log = logging.getLogger(__name__)


def build(
    cache: Path,
    *,
    train: int | None = None,
    voices: int = len(TRAINING_VOICES),
    vague: float = 0.0,
    folder: str | None = None,
) -> Path:
    """Builds the data set once and returns its folder.

    The folder has ``rows.parquet`` (columns ``picture`` as grey PNG of 28 x 28 pixels, ``caption``, ``template``,
    ``name``, ``label``, ``speech`` as 16 kHz FLAC, ``voice``, ``split``, ``held_out``) and ``credits.json``.

    Args:
        cache: Where built data sets are kept, one folder for each set of options and versions of packages.
        train: So many training rows, as evenly over the classes as can be. None: all 58,000. Validation and test are
            the same for any number.
        voices: How many of the training voices are heard, the neural one always among them.
        vague: Share of captions, from 0 to 1, that say only what kind of thing it is, such as footwear. What such a
            row shows is left to its other fields.
        folder: Folder of the four IDX files (``train-images-idx3-ubyte`` ..., gzipped or not). None: Debian's package
            ``dataset-fashion-mnist``, else the hub.

    Raises:
        DataError: The pictures or a package are missing, an option is out of range, or a worker failed.
    """
    credits = installed("fashion", CREDITS)
    _check("voices", 1 <= voices <= len(TRAINING_VOICES), f"{voices}; from 1 to {len(TRAINING_VOICES)}")
    _check("vague", 0 <= vague <= 1, f"{vague}; from 0 to 1")
    _check("train", train is None or train >= len(LABELS), f"{train}; at least {len(LABELS)}, one of each class")
    given = find(Path(folder).expanduser(), cache) if folder else None
    options = {"train": train, "voices": voices, "vague": vague, "pictures": _name(given) if given else "official"}
    target = cache / f"fashion-{train or 'all'}-{identify(_FORMAT, options, credits)}"
    if target.exists():
        return target

    splits = given or find(None, cache)
    labels = {name: split.labels for name, split in splits.items()}
    if train is not None:
        most = training_rows(labels["train"])
        _check("train", train <= most, f"{train}; from {len(LABELS)} to {most}")
    rows = plan(labels, train, voices, vague)
    with assembled(target) as (scratch, finished):
        spoken = list(utterances(rows))
        _log.info("building the fashion data set: %d rows, %d clips", len(rows), len(spoken))
        tasks = [spoken[worker::_WORKERS] for worker in range(_WORKERS)]
        clips = make_cells("fashion", "polymodal.data.voices", tasks, scratch)
        notes = {"options": options, "pictures": PICTURES_CREDIT, "packages": credits}
        (finished / "credits.json").write_text(json.dumps(notes, indent=2))
        _write(rows, splits, clips, finished / "rows.parquet")
    return target


def _name(splits: Mapping[str, Split]) -> str:
    return short_digest(content(splits))


def _write(rows: list[Row], splits: Mapping[str, Split], clips: Mapping[str, bytes], path: Path) -> None:
    files = {
        "picture": [png(splits["test" if row.split == "test" else "train"].pictures[row.place]) for row in rows],
        "speech": [clips[row.clip] for row in rows],
    }
    texts = {name: [getattr(row, name) for row in rows] for name in ("caption", "template", "label", "voice", "split")}
    texts["name"] = [NAMES[row.label] for row in rows]
    texts["held_out"] = ["voice" if row.split == "test" else None for row in rows]
    write_table(path, {**files, **texts}, files=tuple(files), distinct=("picture",))
