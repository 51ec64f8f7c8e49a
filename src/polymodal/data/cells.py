"""Cells: which are absent, which are files, and what each one's content is called."""

import logging
import math
import os
import sqlite3
import time
from base64 import b64decode
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.paths import Files
from polymodal.errors import DataError
from polymodal.files import digest
from polymodal.modalities import Modality

_log = logging.getLogger(__name__)
_SHORTEST_BASE64 = 64
SETTLE_SECONDS = 2.0
"""How old a file must be to be known again by its times."""


def resolve(cell: Any, modality: Modality, files: Files | Path | None, table: str = "") -> Any:
    """The raw value of a cell: a path, bytes or an object; None if the cell is absent.

    Args:
        cell: As the source has it. A dictionary of ``bytes`` and ``path`` is an undecoded file, one of ``array`` and
            ``sampling_rate`` a decoded sound; an error is why the source could not read the cell.
        modality: Says whether a string is the value or a path.
        files: Those that paths may mean, or the folder that has them all.
        table: The file that the cell is from, as a path from the data folder.

    Raises:
        DataError: The cell could not be read, or a path means no file that may be read.
    """
    if isinstance(cell, str):  # first, as most are
        if not cell or not modality.names_file(cell):
            return cell or None
        content = embedded(cell)
        return _find(cell, files, table) if content is None else content
    if isinstance(cell, DataError):
        raise cell
    if isinstance(cell, dict):
        if "array" in cell and "sampling_rate" in cell:
            return None if is_absent(cell["array"]) else cell
        if cell.keys() <= {"bytes", "path"}:
            if cell.get("bytes") is not None:
                return cell["bytes"] or None
            cell = cell.get("path")
            return None if cell in (None, "") else _find(str(cell), files, table)
    return None if is_absent(cell) else cell


def _find(text: str, files: Files | Path | None, table: str) -> Path:
    return (files if isinstance(files, Files) else Files(files)).find(text, table)


def embedded(text: str) -> bytes | None:
    """The file that a text holds in base 64, as a data URI or bare; None if it is a path."""
    head, mark, body = text.partition(";base64,")
    if not (mark and head.startswith("data:")):
        if len(text) < _SHORTEST_BASE64 or "." in text:  # paths have an ending, and base 64 no dots
            return None
        body = text
    try:
        return b64decode("".join(body.split()), validate=True) or None
    except ValueError:
        return None


def is_absent(cell: Any) -> bool:
    """Whether a cell holds nothing: None, an empty string, list or file, or what tables put for null."""
    if cell is None or isinstance(cell, str | bytes | list):
        return not cell
    if isinstance(cell, float | np.floating):
        return math.isnan(cell)
    if isinstance(cell, np.ndarray):
        return cell.size == 0
    return type(cell).__name__ in ("NAType", "NaTType")  # of pandas, which need not be installed


def _name(path: Path) -> str:
    """A path as a text, of which every byte is a character: names of files need not be Unicode, and texts must be."""
    return os.fsencode(path).decode("latin-1")


class Digests:
    """Names of contents: 16 bytes that are equal where two raw values are.

    A file is read once; while its size and times stay the same, its name is remembered in a small database. The
    memory is only a short cut: the name is always that of the bytes.

    Args:
        cache: Folder of the database.
        settle_seconds: How old a file must be to be remembered. One that was changed a moment ago may change again
            within the same tick of the clock.
    """

    def __init__(self, cache: Path, settle_seconds: float = SETTLE_SECONDS) -> None:
        self._settle_ns = settle_seconds * 1e9
        cache.mkdir(parents=True, exist_ok=True)
        self._database = cache / "files.sqlite"
        self._known: dict[str, tuple[str, bytes]] = {}
        self._new: dict[str, tuple[str, bytes]] = {}
        self._run("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT, digest BLOB)")

    def recall(self, folder: Path) -> None:
        """Bring back what is known of the files under a folder."""
        prefix = f"{_name(folder.resolve())}/"
        query = "SELECT path, stamp, digest FROM files WHERE path >= ? AND path < ?"
        rows = self._run(query, [(prefix, prefix[:-1] + "0")])
        self._known.update({path: (stamp, digest) for path, stamp, digest in rows if len(digest) == 16})

    def save(self) -> None:
        """Keep what was learned for the next time."""
        rows = [(path, *rest) for path, rest in self._new.items()]
        self._run("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
        self._new.clear()

    def _run(self, statement: str, rows: Sequence[tuple[Any, ...]] = ((),)) -> list[Any]:
        """What the database answers for each of the rows; nothing if it is broken, and then it is deleted."""
        try:
            with closing(sqlite3.connect(self._database, timeout=60)) as database, database:
                return [answer for row in rows for answer in database.execute(statement, row)]
        except sqlite3.OperationalError:  # it cannot be written, or others write
            return []
        except sqlite3.DatabaseError as error:
            _log.warning("the cache's %s is broken (%s) and is begun anew", self._database.name, error)
            self._database.unlink(missing_ok=True)
            return []

    def of(self, raw: Any, modality: type[Modality] | Modality = Modality) -> bytes:
        """The name of a raw value's content; a file of its own is named by its bytes, anything else by a modality.

        Raises:
            DataError: A file cannot be read, or the modality has no name for such a value.
        """
        if isinstance(raw, Path) and not modality.companions(raw):
            return self._of_file(raw)
        return modality.identity(raw)

    def _of_file(self, path: Path) -> bytes:
        try:
            status = path.stat()
            stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
            known = self._known.get(_name(path))
            if known and known[0] == stamp:
                return known[1]
            name = digest(b"file", path.read_bytes())
        except OSError as error:
            raise DataError(f"cannot read the file: {error.strerror}") from error
        self._known[_name(path)] = (stamp, name)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) >= self._settle_ns:
            self._new[_name(path)] = (stamp, name)
        return name
