"""Columns of Arrow: new cells in the type of their column, between others that stay as they are."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from polymodal.data.sources.arrow import classes
from polymodal.errors import DataError
from polymodal.tables.base import Changes
from polymodal.tables.column_style import ColumnStyle, is_numeric


class ArrowColumns:
    """The columns of an Arrow table.

    Args:
        name: Name of the table, for messages.
        schema: Schema of the columns.

    Raises:
        DataError: A column is there twice.
    """

    def __init__(self, name: str, schema: pa.Schema):
        self.name, self.old, self.classes = name, schema, classes(schema)
        self.kinds: dict[str, pa.DataType] = {field.name: field.type for field in schema}
        if len(self.kinds) < len(schema):
            twice = next(column for column in schema.names if schema.names.count(column) > 1)
            raise DataError(f"{name}: the column '{twice}' is there twice; rename one")

    def rows(self, batch: pa.RecordBatch | pa.Table, columns: Collection[str] | None) -> list[dict[str, Any] | str]:
        """The cells of each row, of these columns or of all."""
        names = [name for name in batch.schema.names if columns is None or name in columns]
        if not names:
            return [{} for _ in range(batch.num_rows)]
        rows = batch.select(names).to_pylist()
        for name in names:
            for row in rows if name in self.classes else ():
                known, cell = self.classes[name], row[name]
                row[name] = known[cell] if cell is not None and 0 <= cell < len(known) else None
        return rows

    def schema(self, added: Sequence[str]) -> pa.Schema:
        """Of the table with the columns that were added. Metadata stay, but for those that name the type of every
        column and would be wrong."""
        names = [*self.old.names, *added]
        fields = [self._field(name) for name in names]
        metadata = dict(self.old.metadata or {})
        if added or any(self.kinds[name] != self.old.field(name).type for name in self.old.names):
            metadata.pop(b"huggingface", None)
        return pa.schema(fields, metadata or None)

    def _field(self, name: str) -> pa.Field:
        field = self.old.field(name) if name in self.old.names else None
        return field if field and field.type == self.kinds[name] else pa.field(name, self.kinds[name])

    def changed(self, table: pa.Table, added: Sequence[str], changes: Changes) -> pa.Table:
        """Some rows with new cells, by their places, and the columns that were added."""
        schema, columns = self.schema(added), []
        for field in schema:
            new = changes.get(field.name, {})
            if field.name in table.column_names:
                column = _cast(table.column(field.name).combine_chunks(), field.type)
            else:
                column = pa.nulls(len(table), field.type)
            columns.append(_replaced(column, new) if new else column)
        return pa.table(columns, schema=schema)

    def prepare(self, column: str, example: Any) -> None:
        """Gives a column the type of ``example``, unless it has one; a file needs a column of files or bytes.

        Raises:
            DataError: The column can hold neither a file nor its path.
        """
        old = self.kinds.get(column)
        unfit = isinstance(example, bytes) and old is not None and not (_is_bytes(old) or _is_file(old))
        if old is not None and unfit and not (types.is_null(old) or _is_text(old)):
            raise DataError(f"{self.name}: column '{column}' holds {old}; files go into a column of bytes or of paths")
        if old is None or types.is_null(old) or unfit:
            self.kinds[column] = _type_of(example)

    def cell(self, column: str, content: Any, style: ColumnStyle) -> Any:
        """A content in the type of a column.

        Raises:
            DataError: The type cannot hold it.
        """
        kind = self.kinds[column]
        if column in self.classes and content in self.classes[column]:
            return self.classes[column].index(content)
        try:
            return converted(content, kind, style)
        except (ValueError, TypeError, ArithmeticError, pa.ArrowException):
            raise DataError(f"{self.name}: column '{column}' holds {kind}; '{content}' is none") from None


def converted(content: Any, kind: pa.DataType, style: ColumnStyle, place: int = 0) -> Any:
    """A content as a value of an Arrow type, its numbers within the range of the others and as fine.

    Raises:
        ValueError, TypeError, ArithmeticError, pa.ArrowException: The type cannot hold it.
    """
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if types.is_dictionary(kind):
        return converted(content, kind.value_type, style, place)
    if isinstance(content, bytes):
        return {"bytes": content, "path": None} if _is_file(kind) else content
    if _is_list(kind):
        items = content if isinstance(content, list) else [content]
        return [converted(item, kind.value_type, style, i) for i, item in enumerate(items)]
    if types.is_boolean(kind) and is_numeric(content):
        return _first(content) >= 0.5
    if _is_text(kind):
        return style.text(content)
    if isinstance(content, str):
        scalar = pa.scalar(content.lower() if types.is_boolean(kind) else content, pa.string()).cast(kind)
        return scalar.as_py() if not types.is_timestamp(kind) else scalar
    if not is_numeric(content):
        return content
    number = style.numbers.fit(_first(content), place)
    if types.is_integer(kind):
        bits = np.iinfo(kind.to_pandas_dtype())
        return min(max(round(number), int(bits.min)), int(bits.max))
    if types.is_decimal(kind):
        return Decimal(str(number)).quantize(Decimal(1).scaleb(-kind.scale))
    return np.float16(number) if types.is_float16(kind) else number


def _first(content: Any) -> Any:
    return content[0] if isinstance(content, list) else content


def _replaced(column: pa.Array, new: dict[int, Any] | Any) -> pa.Array:
    """A column with other cells at some places; the others are not taken apart."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _replaced(column.storage, new))
    if types.is_dictionary(kind):
        words = column.dictionary.to_pylist()
        numbers = {word: number for number, word in enumerate(words)}
        places = {place: numbers.setdefault(cell, len(numbers)) for place, cell in new.items()}
        more = pa.array(list(numbers)[len(words) :], kind.value_type)
        dictionary = pa.concat_arrays([column.dictionary, more]) if len(more) else column.dictionary
        indices = _replaced(column.indices, places)
        return pa.DictionaryArray.from_arrays(indices, dictionary, ordered=kind.ordered)
    if types.is_string_view(kind) or types.is_binary_view(kind):  # of which Arrow cannot take some
        wide = pa.large_string() if types.is_string_view(kind) else pa.large_binary()
        return _replaced(column.cast(wide), new).cast(kind)
    index = np.arange(len(column))
    index[list(new)] = len(column) + np.arange(len(new))
    return pa.concat_arrays([column, pa.array(list(new.values()), kind)]).take(pa.array(index))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column in another type; paths become files that are not embedded."""
    if column.type == kind:
        return column
    if _is_file(kind) and not types.is_null(column.type):
        parts = [pa.nulls(len(column), pa.binary()), column.cast(pa.string())]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=column.is_null())
    return column.cast(kind)


def _type_of(example: Any, number: pa.DataType | None = None) -> pa.DataType:
    """The type of a column of such cells; numbers of lists, of which there are many, in 32 bits."""
    if isinstance(example, bytes):
        return pa.struct({"bytes": pa.binary(), "path": pa.string()})
    if isinstance(example, list):
        return pa.list_(_type_of(example[0], pa.float32()))
    return {float: number or pa.float64(), int: pa.int64(), bool: pa.bool_()}.get(type(example), pa.string())


def _is_file(kind: pa.DataType) -> bool:
    return types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}


def _is_bytes(kind: pa.DataType) -> bool:
    return types.is_binary(kind) or types.is_large_binary(kind)


def _is_list(kind: pa.DataType) -> bool:
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
