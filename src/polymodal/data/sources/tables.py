"""Tables in files: Parquet, JSON, and delimited text. Cells are values, paths or embedded files."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from polymodal.data.cells import SETTLE_SECONDS
from polymodal.data.paths import Files
from polymodal.data.sources.arrow import check_names, classes, from_arrow
from polymodal.data.sources.base import Block, Record, Rejection, Source, in_blocks
from polymodal.data.sources.delimited import SEPARATORS, DelimitedFile
from polymodal.data.sources.json_rows import read_document, read_lines
from polymodal.data.sources.reading import BROKEN
from polymodal.data.sources.unfolding import check_parquet
from polymodal.data.splits import split_in_path
from polymodal.errors import DataError

PARQUET = (".parquet",)
JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
DELIMITED = (".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz")
DOCUMENTS = (".json", ".json.gz")
ENDINGS = (*PARQUET, *JSON_LINES, *DELIMITED, *DOCUMENTS)

_BATCH_ROWS = 256  # no more than ``check_parquet`` looks at together: large cells may be kept once and come often
_POINTER = b"version https://git-lfs"


class Tables(Source):
    """Tables in files, one after another. Paths in cells start from the folder of their table.

    Args:
        tables: By their paths from the data folder.
        files: Those that paths in cells may mean.
        encoding: Encoding of delimited text that is not UTF-8.
    """

    def __init__(self, tables: Mapping[str, Path], files: Files, encoding: str | None = None) -> None:
        super().__init__(next(iter(tables.values())).name if len(tables) == 1 else str(files.folder), files)
        self.tables = dict(tables)
        self.size = sum(path.stat().st_size for path in tables.values())
        self._encoding = encoding
        self._checked: set[Path] = set()
        self._delimited: dict[Path, DelimitedFile] = {}

    def stamp(self) -> list[list[Any]] | None:
        try:
            found = [(file, path, path.stat()) for file, path in self.tables.items()]
        except OSError:
            return None
        latest = max(max(status.st_mtime_ns, status.st_ctime_ns) for *_, status in found)
        if time.time_ns() - latest < SETTLE_SECONDS * 1e9:
            return None
        return [
            [file, str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            for file, path, status in found
        ]

    def columns(self) -> list[str]:
        names: dict[str, None] = {}
        for file, path in self.tables.items():
            names |= dict.fromkeys(self.columns_of(file, path))
        return list(names)

    def columns_of(self, file: str, path: Path, most_rows: int | None = None) -> list[str]:
        """Names of the columns of one table; of JSON, those of all rows, or of the first few."""
        if _ends(path, PARQUET):
            try:
                return pa.parquet.read_schema(path).names
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(path, error) from error
        if _ends(path, DELIMITED):
            return list(self._open(path).columns)
        rows = islice(self._rows(file, path), most_rows)
        return list(dict.fromkeys(name for row in rows if isinstance(row, Record) for name in row.cells))

    def blocks(self, columns: Collection[str]) -> Iterator[Block | Rejection]:
        for file, path in self.tables.items():
            split = split_in_path(file)
            parquet = _ends(path, PARQUET)
            for found in self._parquet(file, path, columns) if parquet else in_blocks(self._rows(file, path), columns):
                if split is not None and isinstance(found, Block):
                    found.splits = [split] * len(found)
                yield found

    def _parquet(self, file: str, path: Path, columns: Collection[str]) -> Iterator[Block]:
        """Read by parts of row groups, and only the columns that are asked for."""
        with _reading(file, path):
            if path not in self._checked:
                check_parquet(path)
                self._checked.add(path)
            with pa.parquet.ParquetFile(path) as table:
                names = table.schema_arrow.names
                check_names(file, names)
                wanted = [name for name in names if name in columns]
                batches = table.iter_batches(_BATCH_ROWS, columns=wanted, use_threads=False)
                yield from from_arrow(file, batches, classes(table.schema_arrow), path.stat().st_size)

    def _rows(self, file: str, path: Path) -> Iterator[Record | Rejection]:
        """Those of text, with all of their cells."""
        with _reading(file, path):
            if _ends(path, DELIMITED):
                yield from self._text(file, self._open(path))
                return
            sound, read = path in self._checked, read_lines if _ends(path, JSON_LINES) else read_document
            faults = 0
            for found in read(path, file, unchecked=sound):
                faults += isinstance(found, Rejection)
                yield found
            if not faults:  # what was in no row twice need not be looked for again
                self._checked.add(path)

    def _open(self, path: Path) -> DelimitedFile:
        if path not in self._delimited:
            self._delimited[path] = DelimitedFile(path, self._encoding)
        return self._delimited[path]

    def _text(self, file: str, table: DelimitedFile) -> Iterator[Record | Rejection]:
        """Every cell is text; an empty one is absent. A column without a name is none."""
        if table.separator != "," and not file.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
            self.note(f"{file}: {SEPARATORS.get(table.separator, repr(table.separator))} part its cells, not commas")
        nameless = [place for place, name in enumerate(table.header) if not name]
        names, places = list(table.columns), list(table.columns.values())
        number = 0
        for row in table.rows():
            cells = row.cells
            if not cells and row.problem is None:
                continue
            number += 1
            if row.problem is not None:
                yield Rejection(file, number, None, row.problem)
            elif nameless:
                if any(cells[place] for place in nameless):
                    self.note(f"{file}: column {nameless[0] + 1} has no name and is left out")
                yield Record(file, number, {name: cells[place] for name, place in zip(names, places, strict=True)})
            else:
                yield Record(file, number, dict(zip(names, cells, strict=True)))


def _ends(path: Path, endings: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(endings)


@contextmanager
def _reading(file: str, path: Path) -> Iterator[None]:
    """Says which file it is that cannot be read."""
    try:
        if path.stat().st_size < 1024 and path.read_bytes().startswith(_POINTER):
            raise DataError(f"{file}: a pointer of Git LFS in place of the file; `git lfs pull` fetches it")
        yield
    except DataError:
        raise
    except (*BROKEN, pa.ArrowException, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path.name}: cannot be read: {error}")
