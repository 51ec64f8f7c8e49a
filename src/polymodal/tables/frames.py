"""Tables in memory: data frames of pandas and polars, and Arrow tables. What comes out is of the same kind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polymodal.errors import DataError
from polymodal.tables.arrow import ArrowColumns, converted
from polymodal.tables.base import SHARD_ROWS, Changes, Shard, Table

_NAME = Path("rows")


class ArrowFrame(Table):
    """An Arrow table, or a data frame of polars."""

    embeds = True

    def __init__(self, frame: Any):
        super().__init__(_NAME)
        self.frame = frame
        table = frame if isinstance(frame, pa.Table) else frame.to_arrow()
        self.table: pa.Table = table.combine_chunks()
        self.columns, self.size = self.table.column_names, len(self.table)
        self.cells = ArrowColumns(_NAME.name, self.table.schema)

    def shards(self) -> Iterator[Shard]:
        for start in range(0, len(self.table), SHARD_ROWS):
            part = self.table.slice(start, SHARD_ROWS)
            yield Shard(part, self.cells.rows(part, self.reads))

    def filled(self, changes: Changes) -> Any:
        """The table with new cells, by the row's place in the whole of it, and with the columns that were added."""
        table = self.cells.changed(self.table, self.added, changes)
        if isinstance(self.frame, pa.Table):
            return table
        # Arrow has one type for what are categories and enumerations there.
        return type(self.frame)(table).cast(
            {
                name: kind
                for name, kind in self.frame.schema.items()
                if self.cells.kinds[name] == self.cells.old.field(name).type
            }
        )

    def prepare(self, column: str, example: Any) -> None:
        self.cells.prepare(column, example)

    def cell(self, column: str, content: Any) -> Any:
        return self.cells.cell(column, content, self.style(column))


class PandasFrame(Table):
    """A data frame of pandas. Pictures, sound and the like are objects in it, unless other cells are files."""

    embeds = True

    def __init__(self, frame: Any):
        super().__init__(_NAME)
        self.frame = frame
        self.columns, self.size = [str(name) for name in frame.columns], len(frame)
        if len(set(self.columns)) < len(self.columns):
            twice = next(name for name in self.columns if self.columns.count(name) > 1)
            raise DataError(f"{_NAME}: the column '{twice}' is there twice; rename one")
        self._labels = dict(zip(self.columns, frame.columns, strict=True))

    def shards(self) -> Iterator[Shard]:
        names = self.columns if self.reads is None else [name for name in self.columns if name in self.reads]
        for start in range(0, len(self.frame), SHARD_ROWS):
            part = self.frame.iloc[start : start + SHARD_ROWS]
            rows: list[dict[str, Any] | str] = [{} for _ in range(len(part))]
            for name in names:
                column = part[self._labels[name]]
                for row, cell, lacks in zip(rows, column.tolist(), column.isna(), strict=True):
                    assert isinstance(row, dict)
                    row[name] = None if lacks else cell
            yield Shard(part, rows)

    def filled(self, changes: Changes) -> Any:
        """The frame with new cells, by the row's place in the whole of it, and with the columns that were added."""
        frame = self.frame.copy()
        for name in [*self.columns, *self.added]:
            new = changes.get(name, {})
            if name in self.added:
                cells = np.full(len(frame), None, dtype=object)
                _put(cells, new)
                whole = len(new) == len(frame)
                frame[name] = type(frame.iloc[:, 0])(cells, index=frame.index).infer_objects() if whole else cells
            elif new:
                label = self._labels[name]
                old = frame[label]
                if old.dtype.name == "category":
                    more = [cell for cell in dict.fromkeys(new.values()) if cell not in old.cat.categories]
                    old = old.cat.add_categories(more) if more else old
                cells = old.to_numpy(dtype=object, copy=True)
                _put(cells, new)
                frame[label] = type(old)(cells, index=frame.index, dtype=old.dtype, name=old.name)
        return frame

    def holds_objects(self, column: str) -> bool:
        if column not in self._labels:
            return True
        cells = self.frame[self._labels[column]].dropna()
        return not len(cells) or not isinstance(cells.iloc[0], bytes | dict)

    def prepare(self, column: str, example: Any) -> None:
        self.style(column).scalar = isinstance(example, float | int)

    def cell(self, column: str, content: Any) -> Any:
        style = self.style(column)
        if isinstance(content, bytes):
            first = self.frame[self._labels[column]].dropna().iloc[0]
            return {"bytes": content, "path": None} if isinstance(first, dict) else content
        if column not in self._labels:
            return style.like(content)
        dtype = self.frame[self._labels[column]].dtype
        kind = getattr(dtype, "pyarrow_dtype", None)
        try:
            if kind is not None:
                return converted(content, kind, style)
            if dtype.kind in "iu":
                return round(_number(style.like(content)))
            return _number(style.like(content)) if dtype.kind == "f" and style.kind is None else style.like(content)
        except (ValueError, TypeError, ArithmeticError, pa.ArrowException):
            raise DataError(f"{_NAME}: column '{column}' holds {dtype}; '{content}' is none") from None


Frame = ArrowFrame | PandasFrame


def is_frame(table: Any) -> bool:
    """Whether this is a table in memory that can be filled."""
    return isinstance(table, pa.Table) or _library(table) in ("pandas", "polars")


def open_frame(table: Any) -> Frame:
    """The table that a frame is.

    Raises:
        DataError: It has a column twice.
    """
    return PandasFrame(table) if _library(table) == "pandas" else ArrowFrame(table)


def _library(table: Any) -> str | None:
    library = type(table).__module__.partition(".")[0]
    return library if type(table).__name__ == "DataFrame" else None


def _put(cells: np.ndarray, new: Any) -> None:
    for place, cell in new.items():  # one by one: a list of lists would be taken for a table
        cells[place] = cell


def _number(content: Any) -> Any:
    return float(content[0] if isinstance(content, list) else content)
