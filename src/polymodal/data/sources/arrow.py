"""Arrow: record batches -> blocks of rows. Cells are taken as they are; the field's modality decodes media."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa

from polymodal.data.paths import Files
from polymodal.data.sources.base import Block, Source
from polymodal.data.sources.reading import check_unpacked
from polymodal.errors import DataError

BATCH_ROWS = 256
_SLICE_BYTES = 1 << 26


class ArrowTable(Source):
    """A table in memory, or what gives record batches as often as it is asked.

    Args:
        name: For messages.
        columns: Names.
        batches: Columns -> record batches of these, in order.
        classes: Names of the classes of columns of integers, by column.
        files: Those that paths in cells may mean.

    Raises:
        DataError: A column is there twice.
    """

    def __init__(
        self,
        name: str,
        columns: list[str],
        batches: Callable[[list[str]], Iterable[pa.RecordBatch | pa.Table]],
        classes: dict[str, list[str]] | None = None,
        files: Files | None = None,
    ) -> None:
        super().__init__(name, files)
        check_names(name, columns)
        self._names, self._batches, self._classes = columns, batches, classes or {}

    def columns(self) -> list[str]:
        return list(self._names)

    def blocks(self, columns: Collection[str]) -> Iterator[Block]:
        wanted = [name for name in self._names if name in columns]
        # A table without columns would have no rows.
        try:
            yield from from_arrow(self.name, self._batches(wanted or self._names[:1]), self._classes)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.name}: cannot be read: {error}") from error


def check_names(source: str, names: list[str]) -> None:
    """Refuse a column that is there twice.

    Raises:
        DataError: One is.
    """
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{source}: the column '{twice}' is there twice; rename one")


def from_arrow(
    file: str,
    batches: Iterable[pa.RecordBatch | pa.Table],
    classes: dict[str, list[str]],
    packed: int | None = None,
) -> Iterator[Block]:
    """The rows of Arrow batches.

    Args:
        file: That holds them.
        batches: In order.
        classes: Names of the classes of columns of integers, by column.
        packed: Bytes of the file, in which a large cell may be kept once and come again and again.

    Raises:
        DataError: They are far more than the file's bytes, or cannot be read.
    """
    row = unpacked = 0
    for batch in batches:
        size = batch.nbytes
        unpacked += size
        if packed is not None:
            check_unpacked(file, packed, unpacked, most_ratio=1000)
        rows = max(1, batch.num_rows * _SLICE_BYTES // max(_SLICE_BYTES, size))
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows) if rows < batch.num_rows else batch
            names = part.schema.names
            places = [*zip(repeat(file), range(row + 1, row + part.num_rows + 1))]
            cells = {name: _cells(part.column(name), classes.get(name)) for name in names}
            row += part.num_rows
            yield Block(places, cells, [None] * part.num_rows)


def classes(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes that the ``datasets`` library notes in the files it writes, by column."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        kinds = {name: kind for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
        return {name: [str(one) for one in kind["names"]] for name, kind in kinds.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _cells(column: pa.Array | pa.ChunkedArray, names: list[str] | None) -> list[Any]:
    if isinstance(column, pa.ChunkedArray):
        return [cell for chunk in column.chunks for cell in _cells(chunk, names)]
    if isinstance(column.type, pa.BaseExtensionType):
        return _cells(column.storage, names)
    try:
        return _at_once(column, names)
    except (pa.ArrowException, ValueError, OverflowError, TypeError):  # of some cell, which must not cost the others
        return [_one(scalar) for scalar in column]


def _at_once(column: pa.Array, names: list[str] | None) -> list[Any]:
    """Lists of numbers become arrays, which is many times quicker than Python lists."""
    kind = column.type
    if names is not None:
        return [_class(names, cell) for cell in column.to_pylist()]
    if _is_list(kind) and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        if not pa.types.is_fixed_size_list(kind) and not column.values.null_count:
            values, ends = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
            there = column.is_valid().to_numpy(zero_copy_only=False)
            cuts = zip(ends[:-1].tolist(), ends[1:].tolist(), there.tolist(), strict=True)
            return [values[start:end] if is_there else None for start, end, is_there in cuts]
        return [np.asarray(cell.values.to_numpy(zero_copy_only=False)) if cell.is_valid else None for cell in column]
    if pa.types.is_struct(kind) and {"array", "sampling_rate"} <= {field.name for field in kind}:
        parts = dict(zip((field.name for field in kind), column.flatten(), strict=True))
        sounds = zip(_cells(parts["array"], None), parts["sampling_rate"].to_pylist(), strict=True)
        return [_sound(samples, rate) for samples, rate in sounds]
    return column.to_pylist()


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _class(names: list[str], cell: int | None) -> Any:
    if cell is None or cell == -1:  # what datasets writes where there is none
        return None
    return names[cell] if 0 <= cell < len(names) else DataError(f"class {cell} of {len(names)}")


def _sound(samples: Any, rate: Any) -> Any:
    """A decoded sound as the ``datasets`` library has it; None if there is none."""
    return None if samples is None else {"array": samples, "sampling_rate": rate}


def _one(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (pa.ArrowException, ValueError, OverflowError, TypeError) as error:
        return DataError(f"cannot be read from the table: {error}")
