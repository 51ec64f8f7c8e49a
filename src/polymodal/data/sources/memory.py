"""Rows that a program has in memory: mappings, columns, frames, Arrow tables, data sets, and what gives rows once."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from polymodal.data.paths import Files
from polymodal.data.sources import hugging_face
from polymodal.data.sources.arrow import BATCH_ROWS, ArrowTable, check_names, classes
from polymodal.data.sources.base import Record, Rejection, Source, Splits
from polymodal.data.splits import is_split_column
from polymodal.errors import DataError

NAME = "rows"

_KINDS = "a path, a list of mappings, a mapping of columns, a data frame, an Arrow table or a data set of `datasets`"


class Memory(Source):
    """Mappings of columns to cells, which can be read as often as need be."""

    def __init__(self, rows: Iterable[Any], files: Files | None = None) -> None:
        super().__init__(NAME, files)
        self.rows = rows

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        for number, row in enumerate(self.rows, 1):
            if isinstance(row, Mapping):
                yield Record(self.name, number, {str(name): _plain(cell) for name, cell in row.items()})
            else:
                reason = f"a row is a mapping of columns to cells; this is of type {type(row).__name__}"
                yield Rejection(self.name, number, None, reason)


def open_object(source: Any, files: Files) -> Source:
    """The source that an object is.

    Args:
        source: Rows, columns or a table. What can be read only once, such as a generator, is read into memory.
        files: Those that paths in cells may mean.

    Raises:
        DataError: It is none, or not a whole table.
    """
    library, kind = type(source).__module__.partition(".")[0], type(source).__name__
    if library == "datasets":
        return hugging_face.open_object(NAME, source, files)
    if library == "pandas" and kind == "DataFrame":
        return Memory(_Columns(_of_frame(source)), files)
    if kind == "LazyFrame" and hasattr(source, "collect"):
        source = source.collect()
    if isinstance(source, pa.RecordBatch) or hasattr(source, "__arrow_c_stream__"):
        try:
            table = pa.Table.from_batches([source]) if isinstance(source, pa.RecordBatch) else pa.table(source)
        except (pa.ArrowException, TypeError) as error:  # one column, such as a Series
            raise DataError(f"{NAME}: of type {kind}, which is no table; give {{'name': column}} ({error})") from error
        return ArrowTable(NAME, table.column_names, lambda names: _batches(table, names), classes(table.schema), files)
    if isinstance(source, np.ndarray) and source.dtype.names:
        source = {name: source[name] for name in source.dtype.names}
    if isinstance(source, Mapping):
        if source and is_split_column(source) and not any(map(_is_flat, source.values())):
            return Splits(NAME, {str(name): open_object(rows, files) for name, rows in source.items()}, files)
        return Memory(_Columns({str(name): column for name, column in source.items()}), files)
    if isinstance(source, str | bytes | bytearray | memoryview):
        raise DataError(f"a source is {_KINDS}, not of type {kind}")
    if isinstance(source, Sequence):
        return Memory(source, files)
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):  # as torch's data sets
        return Memory([source[place] for place in range(len(source))], files)
    if not isinstance(source, Iterable):
        raise DataError(f"a source is {_KINDS}, not of type {kind}")
    rows = list(source)
    if not rows:
        raise DataError(
            f"{NAME}: of type {kind}, and it gives none; if it was read before, make a list of it first: list(...)"
        )
    return Memory(rows, files)


class _Columns:
    """Rows of columns that are equally long.

    Raises:
        DataError: They are not, or one is no column.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.columns = columns
        for name, column in columns.items():
            if isinstance(column, str | bytes | Mapping) or not hasattr(column, "__len__"):
                raise DataError(
                    f"{NAME}: column '{name}' is of type {type(column).__name__}; a list or an array is right"
                )
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
            raise DataError(f"{NAME}: columns of different lengths: {found}")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for cells in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, cells, strict=True))


def _of_frame(frame: Any) -> dict[str, list[Any]]:
    """Columns of a frame of pandas, and of its index if that has a name; None where there is no value."""
    names = [str(name) for name in frame.columns]
    check_names(NAME, names)
    if any(name is not None and str(name) not in names for name in frame.index.names):
        frame = frame.reset_index()
    columns = {str(name): frame.iloc[:, place] for place, name in enumerate(frame.columns)}
    return {name: column.astype(object).where(column.notna(), None).tolist() for name, column in columns.items()}


def _batches(table: pa.Table, names: list[str]) -> Iterator[pa.RecordBatch]:
    return iter(table.select(names).to_batches(BATCH_ROWS))


def _is_flat(rows: Any) -> bool:
    """Whether this is a column of cells and not a table of its own."""
    first = next(iter(rows), None) if isinstance(rows, Sequence) else None
    return isinstance(rows, str | bytes | np.ndarray) or not (first is None or isinstance(first, Mapping))


def _plain(cell: Any) -> Any:
    """Tensors become arrays, and NumPy's scalars those of Python."""
    if isinstance(cell, torch.Tensor):
        cell = cell.detach().cpu()
        cell = (cell.float() if cell.dtype == torch.bfloat16 else cell).numpy()
    if isinstance(cell, np.generic) or (isinstance(cell, np.ndarray) and cell.ndim == 0):
        return cell.item()
    return bytes(cell) if isinstance(cell, bytearray | memoryview) else cell
