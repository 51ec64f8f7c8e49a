"""Where rows come from: manifests, folders of pictures, tar shards, Hugging Face data sets, lists in memory.

A source is only ever read in order, one record at a time, so that a data set may be larger than memory. Nothing
beside the user's files is written.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from polymodal.errors import DataError, unknown

_BATCH_ROWS = 256


@dataclass(frozen=True)
class Record:
    """One row as the source has it.

    Attributes:
        file: The manifest or shard that holds it.
        row: Its place in that file, from 1; the line of a JSONL file.
        cells: By column.
    """

    file: str
    row: int
    cells: dict[str, Any]


@dataclass(frozen=True)
class Rejection:
    """A row that was set aside, and why.

    Attributes:
        file: The manifest or shard that holds it.
        row: Its place in that file, from 1.
        field: The field at fault, or None if it is the row.
        reason: In a few words.
    """

    file: str
    row: int
    field: str | None
    reason: str

    def __str__(self) -> str:
        field = "" if self.field is None else f", field '{self.field}'"
        return f"{self.file}, row {self.row}{field}: {self.reason}"


class Source(ABC):
    """Rows in a fixed order.

    Attributes:
        name: For messages.
        root: The folder that paths in cells start from and may not leave; None if cells may hold no paths.
    """

    name: str
    root: Path | None = None

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """Names of all columns."""

    @abstractmethod
    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        """All rows in order, with at least these columns' cells; absent ones may be left out."""

    def column(self, name: str) -> list[Any]:
        """The cells of one column, None where absent, in the order of the records.

        Raises:
            DataError: There is no such column.
        """
        memory: dict[str, list[Any]] = self.__dict__.setdefault("_columns_read", {})
        if name not in memory:
            if name not in self.columns:
                raise DataError(unknown(f"{self.name}: column", name, self.columns))
            memory[name] = [r.cells.get(name) for r in self.records([name]) if isinstance(r, Record)]
        return memory[name]


class Memory(Source):
    """Rows as a list of mappings."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.name, self.rows = "rows", rows

    @cached_property
    def columns(self) -> list[str]:  # type: ignore[override]
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        for number, row in enumerate(self.rows, 1):
            yield Record(self.name, number, dict(row))


class JsonLines(Source):
    """One JSON object per line; empty lines are skipped."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths, self.root, self.name = paths, paths[0].parent, _name(paths)

    @cached_property
    def columns(self) -> list[str]:  # type: ignore[override]
        return list(dict.fromkeys(name for r in self.records(()) if isinstance(r, Record) for name in r.cells))

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        for path in self.paths:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.strip():
                        continue
                    try:
                        cells = json.loads(line)
                    except ValueError as error:  # JSON and UTF-8 errors both
                        yield Rejection(path.name, number, None, f"not JSON: {error}")
                        continue
                    if isinstance(cells, dict):
                        yield Record(path.name, number, cells)
                    else:
                        yield Rejection(path.name, number, None, "not a JSON object")


class Parquet(Source):
    """Parquet files, read by row groups."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths, self.root, self.name = paths, paths[0].parent, _name(paths)

    @cached_property
    def columns(self) -> list[str]:  # type: ignore[override]
        try:
            return list(dict.fromkeys(name for path in self.paths for name in pa.parquet.read_schema(path).names))
        except pa.ArrowInvalid as error:
            raise DataError(f"{self.name}: not a Parquet file: {error}") from error

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        for path in self.paths:
            with pa.parquet.ParquetFile(path) as file:
                wanted = [name for name in file.schema_arrow.names if name in columns]
                batches = file.iter_batches(_BATCH_ROWS, columns=wanted)
                yield from from_arrow(path.name, batches)


class Csv(Source):
    """CSV files with a header. Every cell is text; an empty one is absent."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths, self.root, self.name = paths, paths[0].parent, _name(paths)

    @cached_property
    def columns(self) -> list[str]:  # type: ignore[override]
        return list(dict.fromkeys(name for path in self.paths for name in self._header(path)))

    def _header(self, path: Path) -> list[str]:
        import csv

        with path.open(newline="", encoding="utf-8-sig") as file:
            return next(csv.reader(file), [])

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        import csv

        for path in self.paths:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file)
                header = next(reader, [])
                for number, cells in enumerate((cells for cells in reader if cells), 1):
                    if len(cells) == len(header):
                        yield Record(path.name, number, dict(zip(header, cells, strict=True)))
                    else:
                        reason = f"{len(cells)} cells where the header names {len(header)}"
                        yield Rejection(path.name, number, None, reason)


def from_arrow(file: str, batches: Iterator[pa.RecordBatch], first: int = 1) -> Iterator[Record]:
    """Records of Arrow batches; lists of numbers become arrays, which is many times quicker than Python lists."""
    row = first
    for batch in batches:
        columns = {name: _cells(batch.column(i)) for i, name in enumerate(batch.schema.names)}
        for i in range(len(batch)):
            yield Record(file, row, {name: cells[i] for name, cells in columns.items()})
            row += 1


def _cells(column: pa.Array) -> list[Any]:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _cells(column.storage)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return [np.asarray(cell.values.to_numpy(zero_copy_only=False)) if cell.is_valid else None for cell in column]
    return column.to_pylist()


def _name(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else str(paths[0].parent)


_MANIFESTS: dict[str, type[JsonLines] | type[Csv] | type[Parquet]] = {
    ".jsonl": JsonLines,
    ".csv": Csv,
    ".parquet": Parquet,
}


def open_source(source: Any) -> Source:
    """The source that a user named.

    Raises:
        DataError: There is no such source, or nothing in it is known.
    """
    if isinstance(source, Source):
        return source
    if not isinstance(source, str | Path):
        return Memory(source)
    path = Path(source)
    if path.suffix in _MANIFESTS:
        if not path.is_file():
            raise DataError(f"{source}: no such file")
        return _MANIFESTS[path.suffix]([path])
    if path.is_dir():
        for suffix, kind in _MANIFESTS.items():
            if paths := sorted(path.glob(f"*{suffix}")):
                return kind(paths)
    raise DataError(f"{source}: no such file or folder; a .jsonl, .csv or .parquet file is right")
