"""Parquet files of one schema, on any file system, of which any rows are read by themselves."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet

from polymodal.data.sources.unfolding import check_groups
from polymodal.errors import DataError
from polymodal.tables.arrow import ArrowColumns
from polymodal.tables.base import SHARD_ROWS, Changes, Shard, Table
from polymodal.tables.parquet import write_groups


class ParquetFiles(Table):
    """Many Parquet files as one table. What its cells look like is learned from a sample of the rows.

    Args:
        name: Name of the table, for messages.
        schema: Of every file.
        sample: Gives the rows of the sample, as often as it is called.
    """

    embeds = True

    def __init__(self, name: str, schema: pa.Schema, sample: Callable[[], Iterator[pa.Table]]):
        super().__init__(Path(name))
        self.columns, self.cells, self._sample = schema.names, ArrowColumns(name, schema), sample

    def shards(self) -> Iterator[Shard]:
        """The rows of the sample."""
        return map(self.shard, self._sample())

    def shard(self, rows: pa.Table) -> Shard:
        """Some rows, to be changed."""
        return Shard(rows, self.cells.rows(rows, self.reads))

    def changed(self, shard: Shard, changes: Changes) -> pa.Table:
        """The rows of a shard with new cells, and with the columns that were added."""
        return self.cells.changed(shard.raw, self.added, changes)

    def write(self, file: Path, tables: Iterable[pa.Table]) -> None:
        """Writes changed rows to a Parquet file, in row groups of bounded size."""
        write_groups(file, self.cells.schema(self.added), tables)

    def prepare(self, column: str, example: Any) -> None:
        self.cells.prepare(column, example)

    def cell(self, column: str, content: Any) -> Any:
        return self.cells.cell(column, content, self.style(column))


def read_rows(
    name: str, size: int, open_file: Callable[[], BinaryIO], first: int, count: int, *, whole_groups: bool = False
) -> Iterator[pa.Table]:
    """Rows of a Parquet file, ``SHARD_ROWS`` at a time; cut in the same places whatever the file's row groups are.

    Args:
        name: Name of the file, for messages.
        size: Its bytes.
        open_file: Opens it.
        first: Number of the first row, from 0.
        count: Number of rows.
        whole_groups: Start at the beginning of the row group that has the first row, so that no row before is decoded.

    Raises:
        DataError: The file cannot be read, unfolds to far more than real data do, or has fewer rows.
    """
    try:
        with open_file() as content, pa.parquet.ParquetFile(content) as file:
            metadata = file.metadata
            ends = list(accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)))
            if first + count > metadata.num_rows:
                raise DataError(f"{name}: has {metadata.num_rows:,} rows, fewer than when it was planned")
            starts = [0, *ends]
            inside = [i for i, end in enumerate(ends) if end > first and starts[i] < first + count]
            check_groups(name, size, open_file, inside)
            skip, left, waiting = 0 if whole_groups else first - starts[inside[0]], count, []
            for batch in file.iter_batches(SHARD_ROWS, row_groups=inside):
                part = batch.slice(min(skip, len(batch)), left)
                skip, left = max(0, skip - len(batch)), left - len(part)
                if not len(part):
                    continue
                waiting.append(part)
                if sum(map(len, waiting)) >= SHARD_ROWS or not left:
                    rows = pa.Table.from_batches(waiting)
                    for start in range(0, len(rows) if not left else SHARD_ROWS, SHARD_ROWS):
                        yield rows.slice(start, SHARD_ROWS).combine_chunks()
                    waiting = rows.slice(SHARD_ROWS).to_batches()
                if not left:
                    return
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{name}: cannot be read: {error}") from error
