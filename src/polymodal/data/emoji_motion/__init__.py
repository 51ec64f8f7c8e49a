"""The built-in data set ``emoji-motion``: emoji that move, with their names, written and spoken.

The clips are the animated Fluent emoji, which come from npm or from a folder; names, groups and speech are those of
``emoji``, whose packages the extra ``demo`` installs. About half of the files move; the others are left out.

Rows. An emoji without skin tone has one row for each of ``voices`` voices that says its name, and one for each held-out
voice; one with a skin tone has one row, without speech.

Splits. ``validation`` holds rows like those of training. A ``test`` row says in ``held_out`` what training never has:
``voice``, or ``tone``, this emoji in this skin tone. Names of emoji-motion are therefore those of training.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from polymodal.data.build_dataset import assembled, check, identify, installed, make_cells, write_table
from polymodal.data.emoji import CREDITS
from polymodal.data.emoji.concepts import load_concepts
from polymodal.data.emoji.rows import TRAINING_VOICES, Row, plan
from polymodal.data.emoji_motion.files import PARTS, fetch, moving_files
from polymodal.data.voices import VOICES, Utterance
from polymodal.files import short_digest

__all__ = ["FIELDS", "build"]

FIELDS = {
    "video": {"modality": "video", "size": 64, "frames": 24, "rate_hz": 6.0},
    "name": {"modality": "text", "max_length": 48},
    "speech": {"modality": "audio", "sample_rate_hz": 16_000, "max_seconds": 3.5},
    "voice": {"modality": "label"},
    "group": {"modality": "label"},
    "skin_tone": {"modality": "label"},
}
"""What the columns are made of, as a recipe would say it; clips of more than four seconds are missing."""

CLIPS_CREDIT = "clips: Fluent Emoji, copyright Microsoft Corporation, MIT; animated files through @lobehub/fluent-emoji"
_FORMAT = 1  # raise it when the same options give other rows
_WORKERS = 2  # no option, as in ``fashion``

_check = partial(check, "emoji-motion")
_log = logging.getLogger(__name__)


def build(cache: Path, *, parts: int = len(PARTS), voices: int = 4, folder: str | None = None) -> Path:
    """Builds the data set once and returns its folder.

    The folder has ``rows.parquet`` (columns ``concept``, ``video`` as WebP, ``name``, ``speech`` as 16 kHz FLAC,
    ``voice``, ``group``, ``subgroup``, ``skin_tone``, ``split``, ``held_out``) and ``credits.json``.

    Args:
        cache: Where built data sets are kept, one folder for each set of options and versions of packages.
        parts: So many of npm's packages, each of about 120 MB, are fetched: ``npm pack`` has to be there.
        voices: How many of the training voices say each name, the neural one always among them.
        folder: Folder of files named by code point, such as ``1f600.webp``, in place of npm's.

    Raises:
        DataError: The clips or a package are missing, an option is out of range, or a worker failed.
    """
    credits = installed("emoji-motion", CREDITS)
    _check("parts", 1 <= parts <= len(PARTS), f"{parts}; from 1 to {len(PARTS)}")
    _check("voices", 2 <= voices <= len(TRAINING_VOICES), f"{voices}; from 2 to {len(TRAINING_VOICES)}")
    given = moving_files([Path(folder).expanduser()]) if folder else None
    names = [part for name, content in sorted((given or {}).items()) for part in (name.encode(), content)]
    clips = PARTS[:parts] if given is None else short_digest(names)
    options = {"clips": clips, "voices": voices}
    target = cache / f"emoji-motion-{identify(_FORMAT, options, credits)}"
    if target.exists():
        return target

    files = given if given is not None else moving_files(fetch(PARTS[:parts], cache / "npm"))
    rows = plan([concept for concept in load_concepts(()) if concept.code in files], voices)
    # One clip of a concept has no other style, which is what ``plan`` holds out there.
    rows = [row for row in rows if row.held_out != "style"]
    _check("folder", bool(rows), f"{folder}: no file that moves is named by the code points of an emoji")
    with assembled(target) as (scratch, finished):
        keys = {_speech_key(row): row for row in rows if row.voice}
        spoken = [Utterance(key, row.concept.name, *VOICES[str(row.voice)]) for key, row in keys.items()]
        _log.info("building the emoji-motion data set: %d clips, %d rows", len(files), len(rows))
        tasks = [spoken[worker::_WORKERS] for worker in range(_WORKERS)]
        speech = make_cells("emoji-motion", "polymodal.data.voices", tasks, scratch)
        notes = {"options": options, "clips": CLIPS_CREDIT, "packages": credits}
        (finished / "credits.json").write_text(json.dumps(notes, indent=2))
        _write(_one_each(rows), files, speech, finished / "rows.parquet")
    return target


def _speech_key(row: Row) -> str:
    return f"{row.concept.code}/{row.voice}"


def _one_each(rows: Sequence[Row]) -> list[Row]:
    """Rows that differ in more than the style of the picture, the first of each."""
    return list({(row.concept.code, row.voice): row for row in reversed(rows)}.values())[::-1]


def _write(rows: Sequence[Row], clips: Mapping[str, bytes], speech: Mapping[str, bytes], path: Path) -> None:
    columns: dict[str, Sequence[bytes | str | None]] = {
        "video": [clips[row.concept.code] for row in rows],
        "speech": [speech.get(_speech_key(row)) for row in rows],
        "concept": [row.concept.base for row in rows],
        "name": [row.concept.name for row in rows],
        "group": [row.concept.group for row in rows],
        "subgroup": [row.concept.subgroup for row in rows],
        "skin_tone": [row.concept.skin_tone for row in rows],
        "voice": [row.voice for row in rows],
        "split": [row.split for row in rows],
        "held_out": [row.held_out for row in rows],
    }
    write_table(path, columns, files=("video", "speech"))
