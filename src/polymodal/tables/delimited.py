"""Delimited text: rows under a header, apart by commas, semicolons, tabs or bars, in any encoding."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from polymodal.data.sources.delimited import DelimitedFile, Row
from polymodal.tables.base import SHARD_ROWS, Changes, Shard, Table


class CsvTable(Table):
    """Rows under a header. Byte order mark, line ends, quotes, separator and encoding stay, cell by cell."""

    def __init__(self, path: Path, encoding: str | None = None):
        super().__init__(path)
        self.file = DelimitedFile(path, encoding)
        self.columns = list(self.file.columns)

    def shards(self) -> Iterator[Shard]:
        rows = self.file.rows()
        while part := list(islice(rows, SHARD_ROWS)):
            yield Shard(part, [self._row(row) for row in part])

    def _row(self, row: Row) -> dict[str, Any] | str:
        if row.problem or not row.cells:
            return row.problem or "the line is empty"
        return {name: row.cells[place] for name, place in self.file.columns.items()}

    def write(self, file: Path, shard: Shard, changes: Changes) -> None:
        with file.open("wb") as out:
            for number, row in enumerate(shard.raw):
                new = {column: cells[number] for column, cells in changes.items() if number in cells}
                if isinstance(shard.rows[number], str) or not (new or self.added):
                    out.write(row.raw)
                    continue
                cells = {self.file.columns[name]: cell for name, cell in new.items() if name in self.file.columns}
                out.write(self.file.changed(row, cells, [new.get(name, "") for name in self.added]))

    def join(self, parts: Sequence[Path], file: Path) -> None:
        with file.open("wb") as out:
            head = self.file.head.decode(self.file.encoding)
            names = head.rstrip("\r\n")
            out.write(names.encode(self.file.encoding))
            if self.added:
                out.write(self.file.changed(Row(b"", []), {}, self.added))
            out.write(head[len(names) :].encode(self.file.encoding))
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, out)

    def cell(self, column: str, content: Any) -> Any:
        return self.style(column).text(content)
