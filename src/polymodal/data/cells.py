"""Cells: which are absent, which are files, and what each one's content is called."""

import math
import sqlite3
import time
from base64 import b64decode
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from polymodal.data.paths import Files
from polymodal.errors import DataError
from polymodal.files import digest
from polymodal.modalities import Modality
from polymodal.modalities.audio import Waveform

_SHORTEST_BASE64 = 64


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
        if not cell or modality.inline:
            return cell or None
        content = _embedded(cell)
        return _find(cell, files, table) if content is None else content
    if isinstance(cell, DataError):
        raise cell
    if isinstance(cell, dict):
        if "array" in cell and "sampling_rate" in cell:
            return decoded_sound(cell["array"], cell["sampling_rate"])
        if cell.keys() <= {"bytes", "path"}:
            if cell.get("bytes") is not None:
                return cell["bytes"] or None
            cell = cell.get("path")
            return None if cell in (None, "") else _find(str(cell), files, table)
    return None if is_absent(cell) else cell


def _find(text: str, files: Files | Path | None, table: str) -> Path:
    return (files if isinstance(files, Files) else Files(files)).find(text, table)


def _embedded(text: str) -> bytes | None:
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


def decoded_sound(samples: Any, rate: Any) -> Waveform | None:
    """What libraries give as ``{array, sampling_rate}``; None if there is no array.

    Raises:
        DataError: It is no sound.
    """
    if samples is None:
        return None
    try:
        samples = np.asarray(samples) if isinstance(samples, np.ndarray) else np.asarray(samples, dtype=np.float32)
        rate = int(rate)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"no sound: {error}") from error
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:  # (channels, samples), as librosa has it
        samples = samples.T
    return Waveform(samples, rate) if samples.size else None


def is_absent(cell: Any) -> bool:
    """Whether a cell holds nothing: None, an empty string, list or file, or what tables put for null."""
    if cell is None or isinstance(cell, str | bytes | list):
        return not cell
    if isinstance(cell, float | np.floating):
        return math.isnan(cell)
    if isinstance(cell, np.ndarray):
        return cell.size == 0
    return type(cell).__name__ in ("NAType", "NaTType")  # of pandas, which need not be installed


class Digests:
    """Names of contents: 16 bytes that are equal where two raw values are.

    A file is read once; while its size and times stay the same, its name is remembered in a small database. The
    memory is only a short cut: the name is always that of the bytes.

    Args:
        cache: Folder of the database.
        settle_seconds: How old a file must be to be remembered. One that was changed a moment ago may change again
            within the same tick of the clock.
    """

    def __init__(self, cache: Path, settle_seconds: float = 2.0) -> None:
        self._settle_ns = settle_seconds * 1e9
        cache.mkdir(parents=True, exist_ok=True)
        self._database = cache / "files.sqlite"
        self._known: dict[str, tuple[str, bytes]] = {}
        self._new: dict[str, tuple[str, bytes]] = {}
        with closing(sqlite3.connect(self._database, timeout=60)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT, digest BLOB)")

    def recall(self, folder: Path) -> None:
        """Bring back what is known of the files under a folder."""
        prefix = f"{folder.resolve()}/"
        with closing(sqlite3.connect(self._database, timeout=60)) as database:
            rows = database.execute(
                "SELECT path, stamp, digest FROM files WHERE path >= ? AND path < ?", (prefix, prefix[:-1] + "0")
            )
            self._known.update({path: (stamp, digest) for path, stamp, digest in rows})

    def save(self) -> None:
        """Keep what was learned for the next time."""
        with closing(sqlite3.connect(self._database, timeout=60)) as database, database:
            database.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)", [(path, *rest) for path, rest in self._new.items()]
            )
        self._new.clear()

    def of(self, raw: Any) -> bytes:
        """The name of a raw value's content.

        Raises:
            DataError: A file cannot be read.
        """
        if isinstance(raw, Path):
            return self._of_file(raw)
        if isinstance(raw, bytes):
            return digest(b"file", raw)
        if isinstance(raw, str):
            return digest(b"text", raw.encode(errors="surrogatepass"))
        if isinstance(raw, np.ndarray):
            return digest(b"array", repr((raw.dtype.str, raw.shape)).encode(), np.ascontiguousarray(raw).tobytes())
        if isinstance(raw, PILImage.Image):
            return digest(b"picture", repr((raw.mode, raw.size, raw.getpalette())).encode(), raw.tobytes())
        return digest(b"value", repr(raw).encode(errors="surrogatepass"))

    def _of_file(self, path: Path) -> bytes:
        try:
            status = path.stat()
            stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
            known = self._known.get(str(path))
            if known and known[0] == stamp:
                return known[1]
            name = digest(b"file", path.read_bytes())
        except OSError as error:
            raise DataError(f"cannot read the file: {error.strerror}") from error
        self._known[str(path)] = (stamp, name)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) >= self._settle_ns:
            self._new[str(path)] = (stamp, name)
        return name
