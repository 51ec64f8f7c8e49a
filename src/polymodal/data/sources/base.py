"""What every source is: rows in a fixed order."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polymodal.errors import DataError, unknown

_PEEK_ROWS = 1000


@dataclass(frozen=True)
class Record:
    """One row as the source has it.

    Attributes:
        file: The manifest, shard or picture that holds it.
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
        file: The manifest, shard or picture that holds it.
        row: Its place in that file, from 1; the line of a JSONL file.
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
    """Rows in a fixed order, only ever read from the first to the last, so that they may be more than memory holds.

    Nothing that the user owns is written.

    Args:
        name: For messages.
        root: The folder that paths in cells start from and may not leave; None if cells may hold no paths.
    """

    def __init__(self, name: str, root: Path | None = None) -> None:
        self.name, self.root = name, root
        self._columns_read: dict[str, list[Any]] = {}

    @abstractmethod
    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        """All rows in order, with at least these columns' cells; absent ones may be left out.

        Raises:
            DataError: A file as a whole cannot be read.
        """

    def columns(self) -> list[str]:
        """Names of all columns; may have to read the whole source."""
        return list(dict.fromkeys(name for r in self.records(()) if isinstance(r, Record) for name in r.cells))

    def check(self, column: str, what: str) -> None:
        """Refuse a column that no row has.

        Raises:
            DataError: Says ``what`` the column is for.
        """
        peek = islice(self.records([column]), _PEEK_ROWS)
        if not any(isinstance(found, Record) and column in found.cells for found in peek):
            known = self.columns()
            if column not in known:
                raise DataError(unknown(f"{self.name}: {what}", column, known))

    def column(self, name: str) -> list[Any]:
        """The cells of one column, None where absent, in the order of the records.

        Raises:
            DataError: There is no such column.
        """
        if name not in self._columns_read:
            self.check(name, "column")
            cells = [found.cells.get(name) for found in self.records([name]) if isinstance(found, Record)]
            self._columns_read[name] = cells
        return self._columns_read[name]


def from_arrow(
    file: str, batches: Iterable[pa.RecordBatch | pa.Table], classes: dict[str, list[str]]
) -> Iterator[Record]:
    """Records of Arrow batches.

    Args:
        file: That holds them.
        batches: In order.
        classes: Names of the classes of columns of integers, by column.
    """
    row = 0
    for batch in batches:
        columns = {name: _cells(batch.column(name), classes.get(name)) for name in batch.schema.names}
        for i in range(batch.num_rows):
            row += 1
            yield Record(file, row, {name: cells[i] for name, cells in columns.items()})


def _cells(column: pa.Array | pa.ChunkedArray, names: list[str] | None) -> list[Any]:
    """Lists of numbers become arrays, which is many times quicker than Python lists."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        storage = (
            [chunk.storage for chunk in column.chunks] if isinstance(column, pa.ChunkedArray) else [column.storage]
        )
        return [cell for chunk in storage for cell in _cells(chunk, names)]
    if names is not None:
        return [names[cell] if cell is not None and 0 <= cell < len(names) else None for cell in column.to_pylist()]
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return [np.asarray(cell.values.to_numpy(zero_copy_only=False)) if cell.is_valid else None for cell in column]
    return column.to_pylist()
