"""Tables that are read a shard at a time, and written again with some cells changed and all others as they were."""

from pathlib import Path

from polymodal.errors import ConfigError, DataError
from polymodal.tables.base import SHARD_ROWS, Changes, Shard, Table
from polymodal.tables.column_style import ColumnStyle, NumberStyle
from polymodal.tables.delimited import CsvTable
from polymodal.tables.frames import ArrowFrame, Frame, PandasFrame, is_frame, open_frame
from polymodal.tables.json_lines import JsonLinesTable
from polymodal.tables.parquet import ParquetTable
from polymodal.tables.parquet_files import ParquetFiles, read_rows

__all__ = [
    "SHARD_ROWS", "ArrowFrame", "Changes", "ColumnStyle", "FileTable", "Frame", "NumberStyle", "PandasFrame",
    "ParquetFiles", "Shard", "Table", "is_frame", "open_frame", "open_table", "read_rows",
]  # fmt: skip

FileTable = ParquetTable | JsonLinesTable | CsvTable

TABLES: dict[str, type[FileTable]] = {
    ".parquet": ParquetTable,
    ".jsonl": JsonLinesTable,
    ".ndjson": JsonLinesTable,
    ".csv": CsvTable,
    ".tsv": CsvTable,
    ".tab": CsvTable,
}
"""By ending."""


def open_table(path: Path, encoding: str | None = None) -> FileTable:
    """The table in a file.

    Args:
        path: Path of the file.
        encoding: Encoding of delimited text that is neither UTF-8 nor says what it is.

    Raises:
        ConfigError: Its ending is not known.
        DataError: It is not there, or cannot be read.
    """
    if path.suffix.lower() not in TABLES:
        raise ConfigError(f"{path}: '{path.suffix}' is no ending of a table; {', '.join(TABLES)} are")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    kind = TABLES[path.suffix.lower()]
    return CsvTable(path, encoding) if kind is CsvTable else kind(path)
