"""JSON: an object per line, a list of objects, or an object of columns."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polymodal.data.sources.base import Record, Rejection
from polymodal.data.sources.reading import BROKEN, MOST_LINE_BYTES, lines, open_binary
from polymodal.errors import DataError

_MOST_VALUES = 1 << 22
"""Of a row, and of a document of columns: each takes some 70 bytes of memory, and as few as 2 of a file."""
_CHUNK_CHARACTERS = 1 << 16
_PEEK_BYTES = 1 << 12
_BLANKS = " \t\r\n\ufeff"
_BETWEEN = re.compile(r"[ \t\r\n,]*")
_NOTE = r'"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[\w.+-]+)\s*,\s*'
_LIST = re.compile(rf'\ufeff?\s*(?:\{{\s*(?:{_NOTE})*"data"\s*:\s*)?\[(?=\s*(?:[{{\]]|\Z))')


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, none of whose values may be lost.

    Raises:
        ValueError: Two have the same key.
    """
    cells = dict(pairs)
    if len(cells) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return cells


_DECODERS = {False: json.JSONDecoder(object_pairs_hook=distinct), True: json.JSONDecoder()}
"""By whether a text is known to have no key twice in an object."""


def _check_values(text: str) -> None:
    """Refuses a text of JSON that may hold more values than real rows have.

    Raises:
        ValueError: It may.
    """
    if len(text) > _MOST_VALUES and sum(map(text.count, "[{,")) > _MOST_VALUES:
        raise ValueError(f"over {_MOST_VALUES:,} values")


def loads(content: bytes | str) -> Any:
    """What a document of JSON holds.

    Raises:
        ValueError: It is none, of UTF-8; a value of it would be lost; or it may hold more values than real rows have.
        RecursionError: It is nested without end.
    """
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    _check_values(text)
    return _DECODERS[False].decode(text)


def read_lines(path: Path, file: str, unchecked: bool = False) -> Iterator[Record | Rejection]:
    """One JSON object per line, or all the same a list of them; empty lines are skipped.

    Args:
        path: Path of the file.
        file: Its name.
        unchecked: Whether it is known that no object has a key twice, which takes longest to find out.
    """
    if _is_list(path):
        yield from read_document(path, file, unchecked)
        return
    decoder = _DECODERS[unchecked]
    with open_binary(path) as source:
        for number, line in enumerate(lines(source), 1):
            if len(line) > MOST_LINE_BYTES:
                yield Rejection(file, number, None, f"the line is longer than {MOST_LINE_BYTES:,} bytes")
                continue
            try:
                text = line.decode().strip(_BLANKS)
                if not text:
                    continue
                _check_values(text)
                cells, end = decoder.raw_decode(text)
                if end < len(text):
                    raise ValueError(f"more text from character {end + 1}")
            except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested without end
                yield Rejection(file, number, None, f"not JSON: {error}")
                continue
            yield _row(file, number, cells)


def _is_list(path: Path) -> bool:
    """Whether a file of lines is one list of objects, and not a list per line."""
    with open_binary(path) as source:
        if not _begins_list(source.read(_PEEK_BYTES)):
            return False
    with open_binary(path) as source:
        first, second = (next(lines(source), b"") for _ in range(2))
    try:
        loads(first)
        return not second.strip()
    except (ValueError, RecursionError):
        return True


def _row(file: str, number: int, cells: Any) -> Record | Rejection:
    if isinstance(cells, dict):
        return Record(file, number, cells)
    return Rejection(file, number, None, f"not a JSON object but {type(cells).__name__}")


def has_rows(path: Path) -> bool:
    """Whether a file looks like a list of objects, or like an object per line."""
    try:
        with open_binary(path) as file:
            if _begins_list(file.read(_PEEK_BYTES)):
                return True
        with open_binary(path) as file:
            first, second = (next(lines(file), b"") for _ in range(2))
        return second.lstrip().startswith(b"{") and isinstance(loads(first), dict)
    except (*BROKEN, ValueError, RecursionError):
        return False


def _begins_list(head: bytes) -> bool:
    return _LIST.match(head.decode("utf-8", "replace")) is not None


def read_document(path: Path, file: str, unchecked: bool = False) -> Iterator[Record | Rejection]:
    """A list of objects, bare or under ``data``; an object of columns; or an object per line.

    Only a part of the file is in memory at a time, but for columns. Arguments as of ``read_lines``.

    Raises:
        DataError: It is none of these.
    """
    with open_binary(path) as source:
        head = source.read(_PEEK_BYTES)
    if _begins_list(head):
        with open_binary(path) as source, io.TextIOWrapper(source, encoding="utf-8-sig") as text:
            yield from _elements(text, file, _DECODERS[unchecked])
        return
    with open_binary(path) as source:
        whole = source.read(MOST_LINE_BYTES + 1)
    if (columns := _columns(whole)) is not None:
        for number, row in enumerate(zip(*columns.values(), strict=True), 1):
            yield Record(file, number, dict(zip(columns, row, strict=True)))
        return
    first = whole.partition(b"\n")[0]
    try:
        cells = loads(first or b"{}")
    except (ValueError, RecursionError):
        cells = None
    if not isinstance(cells, dict):
        raise DataError(
            f'{path.name}: no rows; a list of objects is right, alone or as {{"data": [...]}}, or an object per line, '
            "or one of columns that are lists"
        )
    yield from read_lines(path, file, unchecked)


def _columns(document: bytes) -> dict[str, list[Any]] | None:
    """Columns of equally many cells, 2 or more, as lists or as pandas writes them, by numbers; else None."""
    try:
        columns = loads(document)
    except (ValueError, RecursionError):
        return None
    if not isinstance(columns, dict):
        return None
    numbered = [tuple(column) for column in columns.values() if isinstance(column, dict)]
    if len(numbered) == len(columns) and len({*numbered}) == 1 and all(map(str.isdecimal, numbered[0])):
        columns = {name: list(column.values()) for name, column in columns.items()}
    lists = [column for column in columns.values() if isinstance(column, list)]
    if len(lists) < len(columns) or len({*map(len, lists)}) != 1 or len(lists[0]) < 2:
        return None
    return None if any(isinstance(cell, dict) for column in lists for cell in column) else columns  # lists of records


def _elements(source: io.TextIOWrapper, file: str, decoder: json.JSONDecoder) -> Iterator[Record | Rejection]:
    text = source.read(_CHUNK_CHARACTERS)
    start = _LIST.match(text)
    place = start.end() if start else 0
    number = 1
    while True:
        place = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
        if text.startswith("]", place):
            if start and start.group().lstrip(_BLANKS).startswith("[") and (text[place + 1 :] + source.read(1)).strip():
                yield Rejection(file, number, None, "not JSON: more text behind the list")
            return
        try:
            _check_values(text)
            cells, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:  # broken, or it ends in what is not read yet
            text, place = text[place:], 0
            more = source.read(max(_CHUNK_CHARACTERS, len(text))) if len(text) <= MOST_LINE_BYTES else ""
            if not more:
                yield Rejection(file, number, None, f"not JSON from here on: {error}")
                return
            text += more
            continue
        yield _row(file, number, cells)
        number, place = number + 1, end
