"""JSON lines: one object a line."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from polymodal.errors import DataError
from polymodal.tables.base import SHARD_ROWS, Changes, Shard, Table

_BOM = b"\xef\xbb\xbf"
_BLANKS = " \t\r\n"
_DECODER = json.JSONDecoder()


class JsonLinesTable(Table):
    """One object a line. A line that nothing changes stays as it is; in others, only the values that change do."""

    keeps_lines = True

    def __init__(self, path: Path):
        super().__init__(path)
        names: dict[str, None] = {}
        self.size = 0
        for shard in self.shards():
            self.size += len(shard.rows)
            for row in shard.rows:
                if isinstance(row, dict):
                    names |= dict.fromkeys(row)
        self.columns = list(names)

    def shards(self) -> Iterator[Shard]:
        with self.path.open("rb") as file:
            while lines := list(islice(file, SHARD_ROWS)):
                yield Shard(lines, [_object(line) for line in lines])

    def write(self, file: Path, shard: Shard, changes: Changes) -> None:
        lines = list(shard.raw)
        for row in sorted({row for cells in changes.values() for row in cells}):
            new = {column: cells[row] for column, cells in changes.items() if row in cells}
            lines[row] = _changed(lines[row], new)
            if not lines[row].endswith(b"\n") and row + 1 < len(lines):
                lines[row] += b"\n"
        file.write_bytes(b"".join(lines))

    def join(self, parts: Sequence[Path], file: Path) -> None:
        with file.open("wb") as out:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, out)

    def cell(self, column: str, content: Any) -> Any:
        try:
            return self.style(column).like(content)
        except ValueError as error:
            raise DataError(f"{self.path.name}: column '{column}': {error}") from None

    def prepare(self, column: str, example: Any) -> None:
        self.style(column).scalar = isinstance(example, float | int)


def _object(line: bytes) -> dict[str, Any] | str:
    if not line.strip():
        return "the line is empty"
    try:
        cells = json.loads(line.removeprefix(_BOM))
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return cells if isinstance(cells, dict) else f"not a JSON object but {type(cells).__name__}"


def _changed(line: bytes, new: Mapping[str, Any]) -> bytes:
    """A line in which some keys have other values, those that it lacks behind the others; all else as it was."""
    mark = _BOM if line.startswith(_BOM) else b""
    text = line.removeprefix(_BOM).decode()
    spans, colon, comma, end = _spans(text)
    escapes = text.isascii() and "\\u" in text

    def written(value: Any) -> str:
        return json.dumps(value, ensure_ascii=escapes)

    behind = [f"{written(key)}{colon}{written(value)}" for key, value in new.items() if key not in spans]
    if behind:
        text = text[:end] + (comma if spans else "") + comma.join(behind) + text[end:]
    for key, (start, stop) in sorted(spans.items(), key=lambda item: -item[1][0]):
        if key in new:
            text = text[:start] + written(new[key]) + text[stop:]
    return mark + text.encode()


def _spans(text: str) -> tuple[dict[str, tuple[int, int]], str, str, int]:
    """Of the text of an object: where the value of each key begins and ends, what stands between keys and values and
    between pairs, and where its last value ends."""
    spans: dict[str, tuple[int, int]] = {}
    colon, comma = ": ", ", "
    end = place = _skip(text, text.index("{") + 1)
    while text[place] != "}":
        if text[place] == ",":
            place = _skip(text, place + 1)
        if len(spans) == 1:
            comma = text[end:place]
        key, end = _DECODER.raw_decode(text, place)
        place = _skip(text, _skip(text, end) + 1)
        if not spans:
            colon = text[end:place]
        _, stop = _DECODER.raw_decode(text, place)
        spans[key] = place, stop
        end, place = stop, _skip(text, stop)
    return spans, colon, comma, end


def _skip(text: str, place: int) -> int:
    while text[place] in _BLANKS:
        place += 1
    return place
