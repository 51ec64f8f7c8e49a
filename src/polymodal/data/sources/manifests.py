"""Tables whose cells are values, paths or embedded files: JSONL, CSV, Parquet, lists in memory."""

import csv
import json
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from polymodal.data.sources.base import Record, Rejection, Source, from_arrow
from polymodal.errors import DataError

_BATCH_ROWS = 256


class Memory(Source):
    """A list of mappings, as a program makes them."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        super().__init__("rows")
        self.rows = rows

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        for number, row in enumerate(self.rows, 1):
            yield Record(self.name, number, dict(row))


class Manifest(Source):
    """Files of one format in one folder, one after another. Paths in cells start from that folder."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(paths[0].name if len(paths) == 1 else str(paths[0].parent), paths[0].parent)
        self.paths = paths

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        for path in self.paths:
            try:
                yield from self.read(path, columns)
            except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
                raise DataError(f"{path.name}: cannot be read: {error}") from error

    @abstractmethod
    def read(self, path: Path, columns: Collection[str]) -> Iterator[Record | Rejection]:
        """The rows of one file."""


class JsonLines(Manifest):
    """One JSON object per line; empty lines are skipped."""

    def read(self, path: Path, columns: Collection[str]) -> Iterator[Record | Rejection]:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    cells = json.loads(line)
                except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested without end
                    yield Rejection(path.name, number, None, f"not JSON: {error}")
                    continue
                if isinstance(cells, dict):
                    yield Record(path.name, number, cells)
                else:
                    yield Rejection(path.name, number, None, f"not a JSON object but {type(cells).__name__}")


class Csv(Manifest):
    """Rows under a header, in UTF-8. Every cell is text; an empty one is absent."""

    def read(self, path: Path, columns: Collection[str]) -> Iterator[Record | Rejection]:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            header = next(lines, [])
            if len(set(header)) < len(header):
                raise DataError(f"{path.name}: the header names a column twice: {', '.join(header)}")
            for number, cells in enumerate((cells for cells in lines if cells), 1):
                if len(cells) == len(header):
                    yield Record(path.name, number, dict(zip(header, cells, strict=True)))
                else:
                    reason = f"{len(cells)} cells under a header of {len(header)}"
                    yield Rejection(path.name, number, None, reason)


class Parquet(Manifest):
    """Parquet files, read by row groups and only the columns that are asked for."""

    def columns(self) -> list[str]:
        try:
            return list(dict.fromkeys(name for path in self.paths for name in pa.parquet.read_schema(path).names))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.name}: cannot be read: {error}") from error

    def read(self, path: Path, columns: Collection[str]) -> Iterator[Record | Rejection]:
        with pa.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            wanted = [name for name in schema.names if name in columns]
            yield from from_arrow(path.name, file.iter_batches(_BATCH_ROWS, columns=wanted), _classes(schema))


def _classes(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes that the ``datasets`` library notes in the files it writes, by column."""
    notes = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = notes.get("info", {}).get("features", {})
    return {name: note["names"] for name, note in features.items() if note.get("_type") == "ClassLabel"}
