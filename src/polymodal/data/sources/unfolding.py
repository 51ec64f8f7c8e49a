"""Parquet files of which a few bytes unfold to gigabytes: refused before any of them is taken."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from polymodal.data.sources.reading import check_unpacked

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
_USUAL_DICTIONARY_BYTES = 1 << 20
"""Of the distinct values of a column chunk, each of which a row may name; writers stop at 1 MiB."""
_HEADER_BYTES = 64
_BATCH_ROWS = 256
"""As many as anybody reads at once."""
_FLAT_ROWS = 1 << 16
"""As many, where each is but the number of a distinct value: all of these come with every batch."""


def check_parquet(path: Path) -> None:
    """Refuses a Parquet file that unfolds to far more than real data do; see ``check_groups``.

    Raises:
        DataError: It does.
        OSError, pa.ArrowException: The file cannot be read.
    """
    check_groups(path.name, path.stat().st_size, lambda: path.open("rb"))


def check_groups(
    name: str, packed: int, open_file: Callable[[], BinaryIO], groups: Collection[int] | None = None
) -> None:
    """Refuses a Parquet file if some of its row groups unfold to far more than real data do.

    What is compressed is as long as the file says. But a column may keep a long value once, which any number of rows
    or items of lists name; where that is possible, their lengths are added up, without unfolding them.

    Args:
        name: Name of the file, for messages.
        packed: Bytes of the file.
        open_file: Opens it.
        groups: Row groups to look at; all if not given.

    Raises:
        DataError: It does.
        OSError, pa.ArrowException: The file cannot be read.
    """
    plain = items = 0
    suspects: dict[str, bool] = {}
    with open_file() as content, pa.parquet.ParquetFile(content) as file:
        metadata = file.metadata
        for number in range(metadata.num_row_groups) if groups is None else groups:
            group = metadata.row_group(number)
            for place in range(group.num_columns):
                column, schema = group.column(place), metadata.schema.column(place)
                plain += column.total_uncompressed_size
                repeated = schema.max_repetition_level > 0
                if repeated:
                    items += column.num_values * _WIDTHS.get(column.physical_type, max(0, schema.length))
                dictionary = _dictionary_bytes(content, column)
                if column.physical_type == "BYTE_ARRAY" and dictionary > (0 if repeated else _USUAL_DICTIONARY_BYTES):
                    suspects[column.path_in_schema] = repeated
    check_unpacked(name, packed, plain)
    check_unpacked(name, packed, items, most_ratio=1000)
    if suspects:
        with open_file() as content, pa.parquet.ParquetFile(content, read_dictionary=list(suspects)) as file:
            unfolded, names = 0, list({suspect.partition(".")[0]: None for suspect in suspects})
            rows = _BATCH_ROWS if any(suspects.values()) else _FLAT_ROWS
            for batch in file.iter_batches(rows, row_groups=groups, columns=names):
                for start in range(0, len(batch), _BATCH_ROWS):
                    size = sum(map(_unfolded_bytes, batch.slice(start, _BATCH_ROWS).columns))
                    unfolded += size
                    check_unpacked(name, packed, size)
                    check_unpacked(name, packed, unfolded, most_ratio=1000)


def _dictionary_bytes(content: BinaryIO, column: pa.parquet.ColumnChunkMetaData) -> int:
    """Bytes of the distinct values of a column chunk, unpacked; 0 if it does not list them."""
    if not column.has_dictionary_page or column.dictionary_page_offset is None:
        return 0
    content.seek(column.dictionary_page_offset)
    head = content.read(_HEADER_BYTES)
    # A page's header is in Thrift's compact protocol: its kind and the bytes of the page unpacked come first.
    if head[:1] != b"\x15":
        return column.total_uncompressed_size
    place = 1
    for _ in range(2):
        number = shift = 0
        while place < len(head):
            byte = head[place]
            number |= (byte & 127) << shift
            place, shift = place + 1, shift + 7
            if byte < 128:
                break
        place += 1
    return number >> 1


def _unfolded_bytes(column: pa.Array) -> int:
    """Bytes of an array if every value that it names were written out."""
    if isinstance(column, pa.DictionaryArray):
        if not len(column.dictionary) or not len(column.indices):
            return 0
        named = pc.value_counts(pc.drop_null(column.indices))  # of a large dictionary, a batch names few
        lengths = pc.fill_null(pc.binary_length(column.dictionary.take(named.field("values"))), 0)
        return int(pc.sum(pc.multiply(pc.cast(lengths, pa.int64()), named.field("counts"))).as_py() or 0)
    if isinstance(column, pa.StructArray):
        return sum(map(_unfolded_bytes, column.flatten()))
    if isinstance(column, pa.MapArray):
        return _unfolded_bytes(column.keys) + _unfolded_bytes(column.items)
    if isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return _unfolded_bytes(column.flatten())
    return column.nbytes
