"""A contact sheet: some rows of a data set as one picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from polymodal.data.lettering import Lettering
from polymodal.data.load import Data
from polymodal.data.rows import Rows
from polymodal.files import naming

_PICTURE = 96
_TEXT_WIDTH = 200
_MARGIN = 8
_LINE = 15
_LINES = (_PICTURE + _LINE) // _LINE
_LETTERING = Lettering(12)


def contact_sheet(data: Data, path: str | Path, *, count: int = 40, columns: int = 4) -> Path:
    """Write a PNG of rows spread evenly over the data: thumbnails of what has one, with the other fields beside them.

    Args:
        data: Of which.
        path: Where to.
        count: Most rows to show.
        columns: Rows shown side by side.
    """
    places = [(name, rows, i) for name, rows in data.splits.items() for i in range(len(rows))]
    chosen = [places[int(i)] for i in np.linspace(0, len(places) - 1, min(count, len(places)))]
    entries = [_entry(split, rows, i) for split, rows, i in chosen]
    pictured = [name for name in data.fields if any(name in entry.pictures for entry in entries)]
    width = len(pictured) * (_PICTURE + _MARGIN) + _TEXT_WIDTH + _MARGIN
    height = max(_PICTURE, _LINES * _LINE) + 2 * _MARGIN
    rows_of_sheet = -(-len(chosen) // columns)
    sheet = PILImage.new("RGB", (min(columns, len(chosen)) * width + _MARGIN, rows_of_sheet * height), "white")
    for place, entry in enumerate(entries):
        _draw(sheet, place % columns * width + _MARGIN, place // columns * height + _MARGIN, entry, pictured)
    with naming(path):
        sheet.save(path, format="PNG")
    return Path(path)


@dataclass(frozen=True)
class _Entry:
    """One row of the data: the fields that have a thumbnail, and lines about the others."""

    pictures: dict[str, PILImage.Image]
    lines: list[str]


def _entry(split: str, rows: Rows, i: int) -> _Entry:
    entry = _Entry({}, [f"row {rows.index[i] + 1}, {split}"])
    for name, thing in rows[i].items():
        if thing is None:
            continue
        picture = rows.fields[name].thumbnail(thing, _PICTURE)
        if picture:
            entry.pictures[name] = picture
        else:
            entry.lines.extend(_LETTERING.wrap(f"{name}: {thing}", _TEXT_WIDTH, 3))
    return entry


def _draw(sheet: PILImage.Image, left: int, top: int, entry: _Entry, pictured: list[str]) -> None:
    draw = ImageDraw.Draw(sheet)
    for name in pictured:
        if name in entry.pictures:
            sheet.paste(entry.pictures[name], (left, top))
        draw.rectangle((left - 1, top - 1, left + _PICTURE, top + _PICTURE), outline="#cccccc")
        left += _PICTURE + _MARGIN
    for number, line in enumerate(entry.lines[:_LINES]):
        _LETTERING.draw(draw, (left, top + number * _LINE), line)
