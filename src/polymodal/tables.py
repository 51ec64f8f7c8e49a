"""Tables that are read a shard at a time, and written again with some cells changed and all others as they were."""

import csv
import io
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet

from polymodal.errors import ConfigError, DataError

SHARD_ROWS = 256
"""Rows that are read, changed and written together."""


@dataclass(frozen=True)
class Shard:
    """Some rows of a table, one after another.

    Attributes:
        raw: As the table's class keeps them.
        rows: The cells of each row by column, or the reason why it cannot be read.
    """

    raw: Any
    rows: list[dict[str, Any] | str]


Changes = Mapping[str, Mapping[int, Any]]
"""By column: new cells, made by ``Table.cell``, by the row's place in its shard."""


class Table(ABC):
    """A table in a file.

    Args:
        path: Of the file.

    Attributes:
        columns: Names of the columns of the file.
        added: Names of columns that ``write`` and ``join`` put behind them; to be set before these are called.

    Raises:
        DataError: It cannot be read.
    """

    embeds: ClassVar[bool] = False
    """A cell holds the bytes of a file; otherwise it holds the path of one."""

    columns: list[str]

    def __init__(self, path: Path):
        self.path = path
        self.added: list[str] = []

    @abstractmethod
    def shards(self) -> Iterator[Shard]:
        """All rows in order."""

    @abstractmethod
    def write(self, file: Path, shard: Shard, changes: Changes) -> None:
        """Writes one shard to a file."""

    @abstractmethod
    def join(self, parts: Sequence[Path], file: Path) -> None:
        """Makes one table of files that ``write`` wrote."""

    def prepare(self, column: str, example: Any) -> None:
        """Makes sure that a column can hold cells such as ``example``."""

    def cell(self, column: str, content: Any) -> Any:
        """A string, a number or a list of these, and where ``embeds`` the bytes of a file, as a cell of a column."""
        return content


class JsonLinesTable(Table):
    """One object a line. A line that nothing changes stays as it is, byte for byte."""

    def __init__(self, path: Path):
        super().__init__(path)
        names = dict.fromkeys(
            name for shard in self.shards() for row in shard.rows if isinstance(row, dict) for name in row
        )
        self.columns = list(names)

    def shards(self) -> Iterator[Shard]:
        with self.path.open("rb") as file:
            while lines := list(islice(file, SHARD_ROWS)):
                yield Shard(lines, [_object(line) for line in lines])

    def write(self, file: Path, shard: Shard, changes: Changes) -> None:
        lines = list(shard.raw)
        for row in sorted({row for cells in changes.values() for row in cells}):
            new = {column: cells[row] for column, cells in changes.items() if row in cells}
            lines[row] = (json.dumps({**shard.rows[row], **new}, ensure_ascii=False) + "\n").encode()  # type: ignore[dict-item]
        file.write_bytes(b"".join(lines))

    def join(self, parts: Sequence[Path], file: Path) -> None:
        with file.open("wb") as out:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, out)


def _object(line: bytes) -> dict[str, Any] | str:
    if not line.strip():
        return "the line is empty"
    try:
        cells = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return cells if isinstance(cells, dict) else f"not a JSON object but {type(cells).__name__}"


class CsvTable(Table):
    """Rows under a header, in UTF-8."""

    def __init__(self, path: Path):
        super().__init__(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            self.columns = next(self._lines(file), [])
        if len(set(self.columns)) < len(self.columns):
            raise DataError(f"{path.name}: the header names a column twice: {', '.join(self.columns)}")

    def _lines(self, file: Any) -> Iterator[list[str]]:
        try:
            yield from (cells for cells in csv.reader(file, strict=True) if cells)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{self.path.name}: cannot be read: {error}") from error

    def shards(self) -> Iterator[Shard]:
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            lines = self._lines(file)
            next(lines, None)
            while part := list(islice(lines, SHARD_ROWS)):
                yield Shard(part, [self._row(cells) for cells in part])

    def _row(self, cells: list[str]) -> dict[str, Any] | str:
        if len(cells) != len(self.columns):
            return f"{len(cells)} cells under a header of {len(self.columns)}"
        return dict(zip(self.columns, cells, strict=True))

    def write(self, file: Path, shard: Shard, changes: Changes) -> None:
        names = [*self.columns, *self.added]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for place, cells in enumerate(shard.raw):
            if isinstance(shard.rows[place], dict):
                cells = [*cells, *[""] * len(self.added)]
                for column, new in changes.items():
                    if place in new:
                        cells[names.index(column)] = new[place]
            writer.writerow(cells)
        file.write_text(text.getvalue(), encoding="utf-8", newline="")

    def join(self, parts: Sequence[Path], file: Path) -> None:
        with file.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out, lineterminator="\n").writerow([*self.columns, *self.added])
            for part in parts:
                out.write(part.read_text(encoding="utf-8"))

    def cell(self, column: str, content: Any) -> Any:
        if not isinstance(content, list):
            return content
        nested = any(isinstance(part, list) for part in content)
        return json.dumps(content) if nested else " ".join(map(str, content))


class ParquetTable(Table):
    """A Parquet file. Files are embedded as ``{bytes, path}``, as the ``datasets`` library does, or as
    bytes where the column holds bytes."""

    embeds = True

    def __init__(self, path: Path):
        super().__init__(path)
        try:
            self.schema = pa.parquet.read_schema(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path.name}: cannot be read: {error}") from error
        self.columns = self.schema.names
        self.kinds: dict[str, pa.DataType] = {field.name: field.type for field in self.schema}

    def shards(self) -> Iterator[Shard]:
        with pa.parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(SHARD_ROWS):
                yield Shard(batch, batch.to_pylist())

    def write(self, file: Path, shard: Shard, changes: Changes) -> None:
        batch: pa.RecordBatch = shard.raw
        table = pa.Table.from_batches([batch])
        for name, kind in self.kinds.items():
            new = changes.get(name, {})
            if name in self.columns:
                if not new and kind == self.schema.field(name).type:
                    continue
                cells = [_embedded(cell) if _is_file(kind) else cell for cell in batch.column(name).to_pylist()]
            else:
                cells = [None] * len(batch)
            for place, cell in new.items():
                cells[place] = cell
            column, field = pa.array(cells, kind), self._field(name)
            if name in self.columns:
                table = table.set_column(self.columns.index(name), field, column)
            else:
                table = table.append_column(field, column)
        pa.parquet.write_table(table, file)

    def join(self, parts: Sequence[Path], file: Path) -> None:
        schema = pa.schema([self._field(name) for name in self.kinds])
        kept = all(self.kinds[name] == self.schema.field(name).type for name in self.columns)
        if kept and not self.added:  # what others noted about the columns still holds
            schema = schema.with_metadata(self.schema.metadata)
        with pa.parquet.ParquetWriter(file, schema) as writer:
            for part in parts:
                writer.write_table(pa.parquet.read_table(part).cast(schema))

    def _field(self, name: str) -> pa.Field:
        field = self.schema.field(name) if name in self.columns else None
        return field if field and field.type == self.kinds[name] else pa.field(name, self.kinds[name])

    def prepare(self, column: str, example: Any) -> None:
        """Gives a column the type of ``example``, unless it has one; a file needs a column of files or bytes."""
        old = self.kinds.get(column)
        unfit = isinstance(example, bytes) and old is not None and not (_is_bytes(old) or _is_file(old))
        if old is None or pa.types.is_null(old) or unfit:
            self.kinds[column] = _type_of(example)

    def cell(self, column: str, content: Any) -> Any:
        kind = self.kinds[column]
        if isinstance(content, bytes):
            return {"bytes": content, "path": None} if _is_file(kind) else content
        if isinstance(content, list) and not pa.types.is_nested(kind):
            return content[0]
        if isinstance(content, str) and pa.types.is_integer(kind):
            try:
                return int(content)
            except ValueError:
                raise DataError(f"{self.path.name}: column '{column}' holds integers; '{content}' is none") from None
        return content


def _type_of(example: Any, number: pa.DataType | None = None) -> pa.DataType:
    """The type of a column of such cells; numbers of lists, of which there are many, in 32 bits."""
    if isinstance(example, bytes):
        return pa.struct({"bytes": pa.binary(), "path": pa.string()})
    if isinstance(example, list):
        return pa.list_(_type_of(example[0], pa.float32()))
    return {float: number or pa.float64(), int: pa.int64()}.get(type(example), pa.string())


def _is_file(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _embedded(cell: Any) -> Any:
    """A path becomes ``{bytes, path}``."""
    return {"bytes": None, "path": cell} if isinstance(cell, str) else cell


TABLES: dict[str, type[Table]] = {".parquet": ParquetTable, ".jsonl": JsonLinesTable, ".csv": CsvTable}
"""By ending."""


def open_table(path: Path) -> Table:
    """The table in a file.

    Raises:
        ConfigError: Its ending is not known.
        DataError: It is not there, or cannot be read.
    """
    if path.suffix.lower() not in TABLES:
        raise ConfigError(f"{path}: '{path.suffix}' is no ending of a table; {', '.join(TABLES)} are")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    return TABLES[path.suffix.lower()](path)
