"""What every table is: rows that are read a shard at a time, and cells that are made in the style of their column."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from polymodal.data.cells import is_absent
from polymodal.tables.column_style import ColumnStyle

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
    """A table. One in a file has the methods ``write`` and ``join``, one in memory has ``filled``.

    Args:
        path: Path of the file; of a table in memory, a name for messages.

    Attributes:
        columns: Names of its columns.
        added: Names of columns that are put behind them; to be set before anything is written.
        reads: Columns that the rows of ``shards`` have to hold; None for all.
        styles: What is known of the cells of a column, after ``study``.
        size: Number of rows, where that is known.
    """

    embeds: ClassVar[bool] = False
    """A cell holds the bytes of a file; otherwise it holds the path of one."""

    keeps_lines: ClassVar[bool] = False
    """Rows may lack columns, so that those in which nothing is filled stay as they are."""

    columns: list[str]

    def __init__(self, path: Path):
        self.path = path
        self.added: list[str] = []
        self.reads: Collection[str] | None = None
        self.styles: dict[str, ColumnStyle] = {}
        self.size: int | None = None

    @abstractmethod
    def shards(self) -> Iterator[Shard]:
        """All rows in order."""

    def study(self, columns: Mapping[str, int | None]) -> None:
        """Reads all cells of some columns, so that others can be made in their style.

        Args:
            columns: By name, how many numbers their cells hold; None if they hold something else.
        """
        self.styles |= {name: ColumnStyle(size) for name, size in columns.items()}
        there = [name for name in columns if name in self.columns]
        reads, self.reads, rows = self.reads, there, 0
        for shard in self.shards() if there else ():
            rows += len(shard.rows)
            for row in shard.rows:
                if isinstance(row, dict):
                    for name in there:
                        if not is_absent(cell := row.get(name)):
                            self.styles[name].add(cell)
        self.reads, self.size = reads, rows if there else self.size

    def first_text(self, column: str) -> str | None:
        """The first cell of a column that holds something, if that is text."""
        reads, self.reads = self.reads, [column]
        rows = (row for shard in self.shards() if column in self.columns for row in shard.rows if isinstance(row, dict))
        cell = next((row[column] for row in rows if not is_absent(row.get(column))), None)
        self.reads = reads
        return cell if isinstance(cell, str) else None

    def style(self, column: str) -> ColumnStyle:
        """What is known of the cells of a column."""
        return self.styles.setdefault(column, ColumnStyle())

    def holds_objects(self, column: str) -> bool:
        """Whether cells of a column are pictures, sound and the like as objects, neither files nor their paths."""
        return False

    def prepare(self, column: str, example: Any) -> None:
        """Makes sure that a column can hold cells such as ``example``."""

    @abstractmethod
    def cell(self, column: str, content: Any) -> Any:
        """What a modality makes for a cell, and where ``embeds`` the bytes of a file, as a cell of a column.

        Raises:
            DataError: The column cannot hold it.
        """
