"""Infer fields: what a source's columns seem to hold, for a user who has not said."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from polymodal.data.cache import cache_folder
from polymodal.data.cells import is_absent, resolve
from polymodal.data.load import parse_fields, reserved
from polymodal.data.sources import Record, Source, builtin, open_source
from polymodal.data.splits import is_split_column
from polymodal.errors import DataError
from polymodal.modalities import MODALITIES, Image, Label, Modality, Text, Vector

_PEEK_ROWS = 1000
_MOST_CLASSES = 1000
_LONGEST_CLASS = 40
_SOUND_MAGIC = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM")


def infer_fields(source: Any, cache: str | Path | None = None) -> dict[str, Any]:
    """Fields of a source by its first rows, with default settings; a built-in data set knows its own.

    A column whose name cannot be a field's, such as ``type`` or ``meta.title``, gives ``type_`` or ``meta_title``.

    Files and bytes are pictures or sound by their ending or first bytes; lists of numbers, and numbers, are vectors;
    strings of which each comes at least twice on average are labels, others text as long as the longest. Columns of
    anything else, splits, and names that begin with ``__`` are left out.

    Raises:
        DataError: There is no such source, or nothing in it is known.
    """
    if isinstance(source, str) and (module := builtin.find(source)):
        return {name: modality for name, (modality, _) in parse_fields(module.FIELDS).items()}
    origin = open_source(source, cache_folder(cache))
    names = [name for name in origin.columns() if not name.startswith("__")]
    fields: dict[str, Any] = {}
    peek = [found for found in islice(origin.records(names), _PEEK_ROWS) if isinstance(found, Record)]
    for name in names:
        cells = [record.cells.get(name) for record in peek]
        cells = [cell for cell in cells if not is_absent(cell)]
        if cells and not (name == "split" and is_split_column(cells)):
            modality = _of_column(cells, origin, name)
            if modality is not None and (own := _field_name(name, names)) != name:
                fields[own] = {"modality": modality, "column": name}
            elif modality is not None:
                fields[name] = modality
    if not fields:
        raise DataError(f"{origin.name}: no column holds pictures, sound, text, labels or vectors ({', '.join(names)})")
    return fields


def _field_name(column: str, columns: Sequence[str]) -> str:
    """What the field of a column is called: its name, unless no field may have it."""
    name = re.sub(r"[./\\]", "_", column) or "_"
    while reserved(name) or (name != column and name in columns):
        name += "_"
    return name


def _of_column(cells: list[Any], origin: Source, name: str) -> Modality | None:
    first = cells[0]
    if kind := _kind_of_file(first, origin.root):
        return kind()
    if isinstance(first, str) and first.startswith("["):
        with suppress(ValueError):  # a text that begins with a bracket
            first = json.loads(first)
    if isinstance(first, bool) or (isinstance(first, str | int) and _few(cells)):
        return Label()
    if isinstance(first, int | float):
        return Vector(1)
    if isinstance(first, str):
        longest = max(len(cell.encode(errors="replace")) for cell in origin.column(name) if isinstance(cell, str))
        return Text(max_length=8 * (longest // 8 + 1))  # at least one more than the longest, for the end
    numbers = np.asarray(first) if isinstance(first, list | np.ndarray) else np.empty(0, dtype=object)
    return Vector(len(numbers)) if numbers.ndim == 1 and numbers.dtype.kind in "iuf" else None


def _few(cells: list[Any]) -> bool:
    """Whether values repeat as class names do."""
    names = {str(cell) for cell in cells}
    return len(names) <= min(_MOST_CLASSES, len(cells) // 2) and max(map(len, names)) <= _LONGEST_CLASS


def _kind_of_file(cell: Any, root: Path | None) -> type[Modality] | None:
    """Pictures and sound by the ending of a path, else by the first bytes."""
    if isinstance(cell, PILImage.Image):
        return Image
    path = cell.get("path") if isinstance(cell, dict) else cell
    if isinstance(path, str):
        suffix = Path(path).suffix.lower()
        for kind in MODALITIES.values():
            if not kind.inline and suffix in kind.suffixes:
                return kind
    if isinstance(cell, dict):
        try:
            cell = resolve(cell, Image(), root)
        except DataError:
            return None
    if isinstance(cell, bytes):
        if cell.startswith(_SOUND_MAGIC) and b"WEBP" not in cell[:16]:
            return MODALITIES["audio"]
        try:
            Image().read(cell)
        except DataError:
            return None
        return Image
    return None
