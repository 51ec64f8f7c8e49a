"""Infer fields: what a source's columns seem to hold, where the user names no fields."""

import re
from array import array
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.cache import cache_folder
from polymodal.data.cells import is_absent
from polymodal.data.fields import parse_fields, reserved
from polymodal.data.sources import Block, Record, Rejection, Source, builtin, open_source
from polymodal.data.splits import is_split_column
from polymodal.errors import DataError, printable
from polymodal.modalities import MODALITIES, ColumnSample, Modality
from polymodal.modalities.base import suffix_of
from polymodal.modalities.numbers import column_numbers, is_shortened
from polymodal.modalities.text import shown

_SAMPLE_ROWS = 1000
_SAMPLE_BYTES = 1 << 28
_FEWEST_IDS = 5
_MOST_NAMED = 10
"""Columns that a refusal names."""
_MOST_NAME = 80
"""Characters of a field that is named after a column."""
_ADDRESS = re.compile(r"\s*(https?|ftp|s3|gs)://\S+\s*")
_ID_NAME = re.compile(r"(?i:(.*[\W_])?(id|ids|uuid|guid|key|hash|md5|sha\d*)(_\d+)?)|.*[a-z](Id|ID)")
_INDEX_NAME = re.compile(r"(?i:|index|unnamed: ?\d+|level_\d+|__index_level_\d+__)")
_RANDOM_ID = re.compile(r"(?i:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,128})")
_CODE = re.compile(r"[A-Za-z][\w./-]*\d|\d[\w./-]*[A-Za-z]\w*")

_INTERNAL = "its name begins with '__'"
_SPLITS = "it names the splits"
_EXPECTED = (_INTERNAL, _SPLITS)
"""Reasons that nobody needs to be told."""

_ANY_PATH = re.compile(r"\S{1,200}\.[A-Za-z]\w{1,5}")


class Fields(dict[str, Any]):
    """Fields by name, as ``load`` takes them.

    Attributes:
        left_out: Why each other column is no field, by column.
    """

    def __init__(self, fields: Mapping[str, Any], left_out: Mapping[str, str], notes: Sequence[str] = ()) -> None:
        super().__init__(fields)
        self.left_out, self._own_notes = dict(left_out), list(notes)

    @property
    def notes(self) -> list[str]:
        """What the user should know of them, in sentences."""
        noted = {column: reason for column, reason in self.left_out.items() if reason not in _EXPECTED}
        return [*self._own_notes, *(f"column '{column}' is no field: {reason}" for column, reason in noted.items())]

    def replaced(self, fields: Mapping[str, Any]) -> "Fields":
        """Other fields of the same source, with what is still true of these notes."""
        columns = {column for _, column in parse_fields(fields).values()}
        left_out = {column: reason for column, reason in self.left_out.items() if column not in columns}
        notes = [note for note in self._own_notes if note.split(":")[0].removeprefix("fields.") in fields]
        return Fields(fields, left_out, notes)


def infer_fields(source: Any, cache: str | Path | None = None, **options: Any) -> Fields:
    """Fields of a source by a sample of its rows, evenly spread over all of them; those of a built-in set are known.

    A column whose name cannot be a field's, such as ``type`` or ``meta.title``, gives ``type_`` or ``meta_title``.

    Each modality is asked whether it recognises a column, the last of ``MODALITIES`` first. Splits, identifiers, row
    numbers, addresses of the web and what no modality recognises are left out, with a reason.

    Args:
        source: A file, a folder, a built-in set, rows in memory, or whatever else ``load`` takes.
        cache: Folder of the cache; see ``cache_folder``.
        options: Options of ``load``, that say how the source is read.

    Raises:
        DataError: There is no such source, or nothing in it is known.
    """
    if (known := _builtin(source)) is not None:
        return known
    return fields_of(source, open_source(source, cache_folder(cache), **options))


def fields_of(source: Any, origin: Source) -> Fields:
    """As ``infer_fields``, of a source that is open."""
    if (known := _builtin(source)) is not None:
        return known
    names = origin.columns()
    sample, lengths = _spread(origin, names)
    if not sample:
        first = next((found for found in origin.records(names) if isinstance(found, Rejection)), None)
        raise DataError(
            f"{origin.name}: there are no rows"
            + (f" that can be read; the first that cannot: {first}" if first else "")
        )
    fields: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        column = _Column(name, origin, sample, lengths[name])
        modality = None if (reason := column.why_no_field()) else column.modality()
        if modality is None:
            left_out[name] = reason or column.why_unknown()
            continue
        free = _field_name(name, names)
        fields[free] = modality if free == name else {"modality": modality, "column": name}
        notes += [f"fields.{free}: {note}" for note in column.notes]
    if not fields:
        known_kinds = ", ".join(sorted(MODALITIES))
        why = "; ".join(f"'{column}': {reason}" for column, reason in islice(left_out.items(), _MOST_NAMED))
        more = f"; and {len(left_out) - _MOST_NAMED:,} more columns" if len(left_out) > _MOST_NAMED else ""
        why = why or "it has no columns"
        raise DataError(f"{origin.name}: no column holds values of a known kind, {known_kinds}: {why}{more}")
    return Fields(fields, left_out, notes)


def _builtin(source: Any) -> Fields | None:
    known = builtin.fields(source) if isinstance(source, str) else None
    return (
        None if known is None else Fields({name: modality for name, (modality, _) in parse_fields(known).items()}, {})
    )


def _field_name(column: str, columns: Sequence[str]) -> str:
    """What the field of a column is called: its name, unless no field may have it."""
    name = re.sub(r"[./\\\n\t]", "_", printable(column))[:_MOST_NAME] or "_"
    while reserved(name) or (name != column and name in columns):
        name += "_"
    return name


def _spread(origin: Source, names: Sequence[str]) -> tuple[list[tuple[int, Record]], dict[str, array]]:
    """Records evenly apart, with their numbers, by one pass; and the lengths of all texts, in bytes, by column."""
    kept: list[tuple[int, Record]] = []
    lengths = {name: array("Q") for name in names}
    start, step, size = 0, 1, 0
    for found in origin.blocks(names):
        if not isinstance(found, Block):
            continue
        for name in lengths.keys() & found.cells.keys():
            texts = (cell for cell in found.cells[name] if isinstance(cell, str) and cell)
            lengths[name].extend(len(t) if t.isascii() else len(t.encode(errors="replace")) for t in texts)
        number = start + -start % step
        while number < start + len(found):
            record = found.record(number - start)
            kept.append((number, record))
            size += record.nbytes
            if len(kept) > _SAMPLE_ROWS or (size > _SAMPLE_BYTES and len(kept) > 2 * _FEWEST_IDS):
                kept, step = kept[::2], 2 * step
                size = sum(record.nbytes for _, record in kept)
            number += step - number % step
        start += len(found)
    return kept, lengths


class _Column:
    """Sampled cells of one column that hold something."""

    def __init__(self, name: str, origin: Source, sample: Sequence[tuple[int, Record]], lengths: Sequence[int]) -> None:
        self.name, self.lengths = name, lengths
        found = [(number, record, record.cells.get(name)) for number, record in sample]
        found = [(number, record, cell) for number, record, cell in found if not _holds_nothing(cell)]
        self.rows, self.cells = [number for number, *_ in found], [cell for *_, cell in found]
        self.files = [_file(origin, record, name) for _, record, _ in found]
        self.texts = [cell for cell in self.cells if isinstance(cell, str)]
        self.notes: list[str] = []

    def modality(self) -> Modality | None:
        """That which recognises the column first."""
        sample = ColumnSample(self.cells, self.files, self.lengths, self.notes)
        found = (kind.recognise(sample) for kind in reversed(MODALITIES.values()))
        return next((modality for modality in found if modality is not None), None)

    def why_no_field(self) -> str | None:
        """Why nothing can be learned of the column, whatever it holds."""
        if self.name.startswith("__"):
            return _INTERNAL
        if not self.cells:
            return _SPLITS if self.name == "split" else "it is empty in every row"
        if self.name == "split" and any(is_split_column([text]) for text in {*self.texts}):
            return _SPLITS
        if self._mostly(_ADDRESS.fullmatch):
            return "it holds addresses, which are not fetched"
        if self._mostly(is_shortened):
            return "NumPy has left numbers of its vectors out ('...')"
        if 2 * sum(self._unknown(place) for place in range(len(self.cells))) > len(self.cells):
            return f"it names files of no known kind, such as '{self.texts[0]}'"
        paths = [text for text in self.texts if _is_path(text)]
        there = sum(isinstance(file, Path) for file in self.files)
        if 2 * len(paths) > len(self.cells) and 2 * there < len(self.cells):
            return (
                f"{there:,} of its {len(self.cells):,} paths, such as '{paths[0]}', are files in the data folder; "
                "root=... names another folder"
            )
        return self._why_id()

    def why_unknown(self) -> str:
        """Why no modality knows the column."""
        return f"no modality is known for its values, such as {shown(self.cells[0])}"

    def _why_id(self) -> str | None:
        if len(self.cells) < _FEWEST_IDS or any(isinstance(file, Path) for file in self.files):
            return None
        named = _ID_NAME.fullmatch(self.name) is not None
        numbers = column_numbers(self.cells)
        if numbers is not None and len(numbers) == len(self.cells):
            apart = numbers - np.array(self.rows)
            if apart[0] in (0, 1) and (apart == apart[0]).all():
                return "it counts the rows"
            rising = bool((np.diff(numbers) > 0).all())
            if rising and _INDEX_NAME.fullmatch(self.name):
                return "it is an index of rows"
            if named and len(np.unique(numbers)) == len(numbers) and (numbers == np.floor(numbers)).all():
                return "it holds a number of its own for each row"
            return None
        if len(self.texts) < len(self.cells) or len(set(self.texts)) < len(self.texts):
            return None
        if named and not any(re.search(r"\s", text) for text in self.texts):
            return "it holds a name of its own for each row"
        if all(map(_RANDOM_ID.fullmatch, self.texts)):
            return "it holds identifiers"
        if all(map(_CODE.fullmatch, self.texts)) and len({re.sub(r"\d+", "0", text) for text in self.texts}) == 1:
            return "it holds numbered names"
        return None

    def _unknown(self, place: int) -> bool:
        """Whether a cell names a file that is there, but of a kind that no modality reads."""
        file = self.files[place]
        return isinstance(self.cells[place], str) and isinstance(file, Path) and suffix_of(file) not in _suffixes()

    def _mostly(self, test: Any) -> bool:
        return 10 * sum(bool(test(text)) for text in self.texts) >= 9 * len(self.cells)


def _holds_nothing(cell: Any) -> bool:
    return is_absent(cell) or isinstance(cell, DataError) or (isinstance(cell, dict) and not any(_given(cell)))


def _given(cell: Mapping[str, Any]) -> list[bool]:
    return [not is_absent(part) for part in cell.values()]


def _is_path(text: str) -> bool:
    """Whether a text seems to name a file of a known kind."""
    if len(text) > 1024 or "." not in text or "\n" in text or text.count(" ") > 2:
        return False
    return suffix_of(Path(text)) in _suffixes()


def _suffixes() -> set[str]:
    """Endings of the files that a text in a cell may name."""
    return {suffix for kind in MODALITIES.values() for suffix in kind.suffixes if kind.names_file(suffix)}


def _file(origin: Source, record: Record, name: str) -> Path | bytes | None:
    """The file that a cell names or embeds, if it is there."""
    cell = record.cells.get(name)
    if isinstance(cell, Path | bytes):
        return cell
    if isinstance(cell, str) and not (_is_path(cell) or _ANY_PATH.fullmatch(cell) or _may_embed(cell)):
        return None
    if not isinstance(cell, str | dict):
        return None
    any_file: Any = Modality
    try:
        found = origin.raw(record, name, any_file)
    except DataError:
        return None
    return found if isinstance(found, Path | bytes) else None


def _may_embed(text: str) -> bool:
    """Whether a text may be a file in base 64."""
    return text.startswith("data:") or (len(text) >= 64 and re.match(r"[\w+/-]{60}", text, re.ASCII) is not None)
