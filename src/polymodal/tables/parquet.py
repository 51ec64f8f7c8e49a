"""Parquet files."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from polymodal.data.sources.unfolding import check_parquet
from polymodal.errors import DataError
from polymodal.tables.arrow import ArrowColumns
from polymodal.tables.base import SHARD_ROWS, Changes, Shard, Table

_GROUP_BYTES = 1 << 26
_CODECS = {"uncompressed": "none", "lz4_raw": "lz4"}


def write_groups(
    file: Path, schema: pa.Schema, tables: Iterable[pa.Table], *, rows: float = math.inf, compression: str = "snappy"
) -> None:
    """Writes tables one after another to a Parquet file, in row groups of about ``rows``, and of bounded size."""
    with pa.parquet.ParquetWriter(file, schema, compression=compression) as writer:
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(table)
            if sum(map(len, waiting)) >= rows or sum(each.nbytes for each in waiting) >= _GROUP_BYTES:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))


class ParquetTable(Table):
    """A Parquet file. Files are embedded as ``{bytes, path}``, as the ``datasets`` library does, or as
    bytes where the column holds bytes."""

    embeds = True

    def __init__(self, path: Path):
        super().__init__(path)
        try:
            check_parquet(path)
            with pa.parquet.ParquetFile(path) as file:
                self.schema, self.metadata = file.schema_arrow, file.metadata
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path.name}: cannot be read: {error}") from error
        self.columns, self.size = self.schema.names, self.metadata.num_rows
        self.cells = ArrowColumns(path.name, self.schema)

    def shards(self) -> Iterator[Shard]:
        try:
            with pa.parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(SHARD_ROWS):
                    yield Shard(batch, self.cells.rows(batch, self.reads))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.path.name}: cannot be read: {error}") from error

    def write(self, file: Path, shard: Shard, changes: Changes) -> None:
        table = self.cells.changed(pa.Table.from_batches([shard.raw]), self.added, changes)
        pa.parquet.write_table(table, file)

    def join(self, parts: Sequence[Path], file: Path) -> None:
        groups = [self.metadata.row_group(i) for i in range(self.metadata.num_row_groups)]
        rows = max([group.num_rows for group in groups], default=SHARD_ROWS)
        codec = groups[0].column(0).compression.lower() if groups and groups[0].num_columns else "snappy"
        schema = self.cells.schema(self.added)
        tables = (pa.parquet.read_table(part).cast(schema) for part in parts)
        write_groups(file, schema, tables, rows=rows, compression=_CODECS.get(codec, codec))

    def prepare(self, column: str, example: Any) -> None:
        self.cells.prepare(column, example)

    def cell(self, column: str, content: Any) -> Any:
        return self.cells.cell(column, content, self.style(column))
