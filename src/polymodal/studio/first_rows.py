"""The first rows of a table as text."""

from itertools import islice
from pathlib import Path
from typing import Any

from polymodal.data import open_source
from polymodal.data.cache import cache_folder
from polymodal.data.sources import Record

_MOST_LETTERS = 80


def first_rows(path: Path, count: int = 20) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and the cells of the first rows, files by their size and long ones cut.

    Raises:
        DataError: The table cannot be read.
    """
    origin = open_source(str(path), cache_folder())
    names = origin.columns()
    records = (record for record in origin.records(names) if isinstance(record, Record))
    return names, [[_shown(record.cells.get(name)) for name in names] for record in islice(records, count)]


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, dict) and isinstance(cell.get("bytes"), bytes):
        cell = cell["bytes"]
    text = f"{len(cell):,} bytes" if isinstance(cell, bytes) else str(cell)
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
