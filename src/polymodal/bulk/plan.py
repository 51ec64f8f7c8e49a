"""Plan: which rows of which Parquet files are done together, from what the files' footers say, and nothing else."""

import io
import posixpath
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from fsspec.implementations.local import LocalFileSystem

from polymodal.bulk.storage import file_system
from polymodal.data.sources.arrow import classes
from polymodal.errors import ConfigError, DataError
from polymodal.files import short_digest
from polymodal.tables import SHARD_ROWS

GROUP_ROWS = 4096
"""Rows of a group, unless another number is asked for."""

SAMPLE_PIECES = 16
"""Of ``SHARD_ROWS`` rows each, that tell what the cells of a column look like."""

_ENDING = ".parquet"
_TRAILER_BYTES = 8
"""Behind the footer of a Parquet file: its length, and ``PAR1``."""
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class InputFile:
    """A Parquet file whose rows are planned.

    Attributes:
        url: Where it is.
        name: Its path from the folder that all files have in common.
        size: Its bytes.
        rows: Number of its rows.
        footer: Digest of its footer, which says of every column where it lies and what its least and greatest are.
        first: Number of its first row among those of all files, from 0.
    """

    url: str
    name: str
    size: int
    rows: int
    footer: str
    first: int


@dataclass(frozen=True)
class RowGroup:
    """Rows of one file, one after another.

    Attributes:
        number: Place of the group in the plan, from 0.
        file: That has them.
        start: Number of the first row in the file, from 0.
        rows: Their number.
    """

    number: int
    file: InputFile
    start: int
    rows: int


@dataclass(frozen=True)
class Plan:
    """All rows of some Parquet files in groups; the same wherever it is made.

    It takes as much memory as there are files, however many rows they have.

    Attributes:
        files: In order.
        schema: Of all of them.
        folder: The folder that all have in common, if it is on this machine.
        group_rows: Rows of a group; the last of each file may have fewer.
    """

    files: tuple[InputFile, ...]
    schema: pa.Schema
    folder: Path | None = None
    group_rows: int = GROUP_ROWS
    _firsts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Number of the first group of each file, and behind them the number of all."""

    def __post_init__(self) -> None:
        firsts = [0]
        for file in self.files:
            firsts.append(firsts[-1] - -file.rows // self.group_rows)
        object.__setattr__(self, "_firsts", tuple(firsts))

    def __len__(self) -> int:
        return self._firsts[-1]

    def __getitem__(self, number: int) -> RowGroup:
        if not 0 <= number < len(self):
            raise IndexError(f"group {number} of {len(self)}")
        place = bisect_right(self._firsts, number) - 1
        file, start = self.files[place], (number - self._firsts[place]) * self.group_rows
        return RowGroup(number, file, start, min(self.group_rows, file.rows - start))

    @property
    def rows(self) -> int:
        """Number of all rows."""
        return self.files[-1].first + self.files[-1].rows

    def part(self, number: int) -> str:
        """Name of the file that holds a group's rows when they are done."""
        return f"part-{number:0{max(6, len(str(len(self))))}d}{_ENDING}"

    def sample(self) -> Iterator[tuple[InputFile, int, int]]:
        """Rows that stand for all of them, as file, first row in it and number: all of few, else pieces far apart."""
        if self.rows <= SAMPLE_PIECES * SHARD_ROWS:
            yield from ((file, 0, file.rows) for file in self.files)
            return
        for piece in range(SAMPLE_PIECES):
            row = piece * (self.rows - SHARD_ROWS) // (SAMPLE_PIECES - 1)
            file = self.files[bisect_right([file.first for file in self.files], row) - 1]
            start = row - file.first
            yield file, start, min(SHARD_ROWS, file.rows - start)

    def note(self) -> dict[str, Any]:
        """What the result depends on, as JSON."""
        return {
            "files": [[file.name, file.size, file.rows, file.footer] for file in self.files],
            "group_rows": self.group_rows,
        }


def make_plan(tables: str | Path | Iterable[str | Path], group_rows: int = GROUP_ROWS) -> Plan:
    """The plan of Parquet files, of which nothing but the footers is read.

    Args:
        tables: Paths or URLs of files, of folders that have them, or patterns such as ``rows-*.parquet``; the files of
            a folder and of a pattern are ordered by name.
        group_rows: Rows of a group.

    Raises:
        ConfigError: ``group_rows`` is no number of rows, or a table is no Parquet file.
        DataError: There is no such file, one cannot be read, or they have different columns.
    """
    if group_rows < 1:
        raise ConfigError(f"group_rows: {group_rows} is not at least 1")
    urls = [url for table in ([tables] if isinstance(tables, str | Path) else tables) for url in _expand(str(table))]
    if not urls:
        raise ConfigError("table: name at least one file")
    paths = [file_system(url)[1] for url in urls]
    if len({type(file_system(url)[0]) for url in urls}) > 1:
        raise ConfigError("table: all files must be on one file system")
    folder = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    files: list[InputFile] = []
    schema, first = None, 0
    for url, path in zip(urls, paths, strict=True):
        name = posixpath.relpath(path, folder)
        size, metadata, footer = _read_footer(url, name)
        its = metadata.schema.to_arrow_schema()
        if schema is None:
            schema = its
        elif not its.equals(schema) or classes(its) != classes(schema):
            raise DataError(
                f"{name}: {_difference(its, schema)} in {files[0].name}; columns must be the same in all files"
            )
        files.append(InputFile(url, name, size, metadata.num_rows, footer, first))
        first += metadata.num_rows
    if schema is None or not first:
        raise DataError(f"{folder}: there are no rows")
    return Plan(tuple(files), schema, Path(folder) if "://" not in urls[0] else None, group_rows)


def _expand(text: str) -> Sequence[str]:
    """URLs of the Parquet files that a path, a folder or a pattern means; local ones as paths."""
    files, path = file_system(text)
    found = [path]
    if any(sign in path for sign in "*?[") or files.isdir(path):
        names = files.find(path) if files.isdir(path) else files.glob(path)
        above = path.rstrip("/") if files.isdir(path) else posixpath.dirname(path)
        found = sorted(name for name in names if name.endswith(_ENDING) and "/." not in name.removeprefix(above))
    if not found:
        raise DataError(f"{text}: there is no {_ENDING} file")
    if not found[0].lower().endswith(_ENDING):
        raise ConfigError(f"{text}: many tables, and tables of other file systems, are filled as {_ENDING} files only")
    return found if isinstance(files, LocalFileSystem) else [files.unstrip_protocol(name) for name in found]


def _read_footer(url: str, name: str) -> tuple[int, Any, str]:
    """Bytes of a Parquet file, its metadata, and the digest of its footer."""
    files, path = file_system(url)
    try:
        size = files.info(path)["size"]
        tail = files.cat_file(path, start=max(0, size - _TAIL_BYTES), end=size)
        wanted = int.from_bytes(tail[-_TRAILER_BYTES:-4], "little") + _TRAILER_BYTES
        if len(tail) < wanted <= size:
            tail = files.cat_file(path, start=size - wanted, end=size)
        footer = tail[-wanted:]
        metadata = pa.parquet.read_metadata(io.BytesIO(b"PAR1" + footer))
    except FileNotFoundError:
        raise DataError(f"{url}: no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{name}: cannot be read: {error}") from error
    return size, metadata, short_digest(footer, 16)


def _difference(one: pa.Schema, other: pa.Schema) -> str:
    """The first difference of two schemas."""
    for name in dict.fromkeys([*one.names, *other.names]):
        kinds = [
            [str(schema.field(place).type) for place in schema.get_all_field_indices(name)] for schema in (one, other)
        ]
        if kinds[0] != kinds[1]:
            here, there = (" and ".join(its) or "missing" for its in kinds)
            return f"column '{name}' is {here}, and {there}"
    return "the columns are in another order, or their classes have other names, than"
