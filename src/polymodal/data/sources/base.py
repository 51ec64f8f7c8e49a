"""What every source is: rows in a fixed order."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from polymodal.data.cells import resolve
from polymodal.data.paths import Files
from polymodal.data.splits import split_in_name
from polymodal.errors import DataError, printable, unknown
from polymodal.modalities import Modality

_PEEK_ROWS = 1000
_BLOCK_ROWS, _BLOCK_BYTES = 256, 1 << 26


@dataclass(slots=True)
class Record:
    """One row as the source has it.

    Attributes:
        file: The table, shard or picture that holds it, as a path from the data folder.
        row: Its place in that file, from 1; the line of a file of JSON lines.
        cells: By column. A cell that cannot be read is the ``DataError`` that says why.
        split: What the name of its file or folder seems to say, or None.
    """

    file: str
    row: int
    cells: dict[str, Any]
    split: str | None = None

    @property
    def nbytes(self) -> int:
        """About how much memory its texts, files and arrays take."""
        parts = [cell.get("bytes") if isinstance(cell, dict) else cell for cell in self.cells.values()]
        return sum(len(part) for part in parts if isinstance(part, str | bytes)) + sum(
            part.nbytes for part in parts if isinstance(part, np.ndarray)
        )


@dataclass(slots=True)
class Block:
    """Rows one after another, column by column, as the source has them.

    Attributes:
        places: Of each row, the file that holds it and its place in that, as of ``Record``.
        cells: By column, of each row; None where a row lacks the column.
        splits: Of each row, what the name of its file or folder seems to say, or None.
    """

    places: Sequence[tuple[str, int]]
    cells: dict[str, list[Any]]
    splits: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> list[Any]:
        """The cells of a column, which the block may lack."""
        cells = self.cells.get(name)
        return [None] * len(self) if cells is None else cells

    def head(self, rows: int) -> "Block":
        """The first rows."""
        return Block(self.places[:rows], {name: its[:rows] for name, its in self.cells.items()}, self.splits[:rows])

    def record(self, place: int) -> Record:
        """One of its rows."""
        return Record(
            *self.places[place], {name: cells[place] for name, cells in self.cells.items()}, self.splits[place]
        )

    def records(self) -> Iterator[Record]:
        """Its rows."""
        for (file, row), split, *cells in zip(self.places, self.splits, *self.cells.values(), strict=True):
            yield Record(file, row, dict(zip(self.cells, cells, strict=True)), split)


@dataclass(frozen=True)
class Rejection:
    """A row that was set aside, and why.

    Attributes:
        file: The table, shard or picture that holds it, as a path from the data folder.
        row: Its place in that file, from 1; the line of a file of JSON lines.
        field: The field at fault, or None if it is the row.
        reason: In a few words.
    """

    file: str
    row: int
    field: str | None
    reason: str

    def __str__(self) -> str:
        field = "" if self.field is None else f", field '{self.field}'"
        return printable(f"{self.file}, row {self.row}{field}: {self.reason}")


class Source:
    """Rows in a fixed order, only ever read from the first to the last, so that they may be more than memory holds.

    Nothing that the user owns is written. A source defines ``records``, or ``blocks`` where it has columns; the other
    follows from it.

    Args:
        name: For messages.
        files: Those that paths in cells may mean; none if cells may hold no paths.

    Attributes:
        size: Bytes of its files; None if it has none.
    """

    def __init__(self, name: str, files: Files | None = None) -> None:
        self.name, self.files = name, files or Files()
        self.root = self.files.folder
        self.size: int | None = None
        self._notes: dict[str, None] = {}
        self._columns_read: dict[str, list[Any]] = {}

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        """All rows in order, with at least these columns' cells; absent ones may be left out.

        Raises:
            DataError: A file as a whole cannot be read.
        """
        for found in self.blocks(columns):
            if isinstance(found, Block):
                yield from found.records()
            else:
                yield found

    def blocks(self, columns: Collection[str]) -> Iterator[Block | Rejection]:
        """All rows in order, some at a time, with these columns' cells or more.

        Raises:
            DataError: A file as a whole cannot be read.
        """
        return in_blocks(self.records(columns), columns)

    def stamp(self) -> list[list[Any]] | None:
        """Path, size and times of each file that its cells are in; None if it has none, or one has just been changed.

        One that was changed a moment ago may change again within the same tick of the clock.
        """
        return None

    def columns(self) -> list[str]:
        """Names of all columns; may have to read the whole source."""
        return list(dict.fromkeys(name for r in self.records(()) if isinstance(r, Record) for name in r.cells))

    @property
    def notes(self) -> list[str]:
        """What to know of how it was read so far, in sentences: what was recognised, and what was left out."""
        unused = sorted(self.files.unused)
        left = [f"files that no cell names: {len(unused):,}, the first {unused[0]!r}"] if unused else []
        return [*self._notes, *self.files.notes, *left]

    def note(self, sentence: str) -> None:
        """Adds to ``notes``, once."""
        self._notes[sentence] = None

    def raw(self, record: Record, column: str, modality: Modality) -> Any:
        """The raw value of a record's cell; None if it is absent.

        Raises:
            DataError: The cell could not be read, or is a path of no file that may be read.
        """
        return self.raw_of(record.cells.get(column), modality, record.file)

    def raw_of(self, cell: Any, modality: Modality, file: str) -> Any:
        """The raw value of a cell that is in a file of the source; as ``raw``."""
        return resolve(cell, modality, self.files, file)

    def check(self, column: str, what: str) -> None:
        """Refuse a column that no row has.

        Raises:
            DataError: Says ``what`` the column is for.
        """
        first = None
        for found in islice(self.records([column]), _PEEK_ROWS):
            if isinstance(found, Record) and column in found.cells:
                return
            first = first or (found if isinstance(found, Rejection) else None)
        known = self.columns()
        bad = f"; the first that cannot be read: {first}" if first else ""
        if not known:
            raise DataError(f"{self.name}: there are no rows{bad}")
        if column not in known:
            raise DataError(unknown(f"{self.name}: {what}", column, known) + bad)

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


def in_blocks(rows: Iterable[Record | Rejection], columns: Collection[str]) -> Iterator[Block | Rejection]:
    """Rows in order, those between two rejections together, with the cells of these columns."""
    together: list[Record] = []
    size = 0
    for found in rows:
        if isinstance(found, Record):
            together.append(found)
            size += found.nbytes
        if together and (isinstance(found, Rejection) or len(together) == _BLOCK_ROWS or size > _BLOCK_BYTES):
            yield _block(together, columns)
            together, size = [], 0
        if isinstance(found, Rejection):
            yield found
    if together:
        yield _block(together, columns)


def _block(records: list[Record], columns: Collection[str]) -> Block:
    there = [name for name in columns if any(name in record.cells for record in records)]
    cells: dict[str, list[Any]] = {name: [record.cells.get(name) for record in records] for name in there}
    return Block([(record.file, record.row) for record in records], cells, [record.split for record in records])


class Splits(Source):
    """Sources one after another, each a split of its own.

    Args:
        name: For messages.
        parts: Sources by the name of their split.
        files: Those that paths in cells may mean.
    """

    def __init__(self, name: str, parts: dict[str, Source], files: Files | None = None) -> None:
        super().__init__(name, files)
        self.parts = parts

    def columns(self) -> list[str]:
        return list(dict.fromkeys([name for part in self.parts.values() for name in part.columns()] + ["split"]))

    @property
    def notes(self) -> list[str]:
        return [*super().notes, *(f"{split}: {note}" for split, part in self.parts.items() for note in part.notes)]

    def blocks(self, columns: Collection[str]) -> Iterator[Block | Rejection]:
        for name, part in self.parts.items():
            split = split_in_name(name)
            for found in part.blocks(columns):
                if isinstance(found, Block):
                    cells = {"split": [split or name] * len(found), **found.cells}
                    yield Block([(name, row) for _, row in found.places], cells, [split] * len(found))
                else:
                    yield replace(found, file=name)
