"""Files of text, packed by gzip or not, read with a ceiling on every line and on what a small file may unfold to."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from polymodal.errors import DataError

MOST_LINE_BYTES = 1 << 25
"""Of a line, and of a record of several lines."""

MOST_ROWS = 1_000_000
"""Of a file, and one more for each byte of it."""

_MOST_UNPACKED_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 18
_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"PAR1": "Parquet",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "a data base of SQLite",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard",
    b"\xd0\xcf\x11\xe0": "a spreadsheet of Excel",
    b"%PDF-": "a PDF",
}
"""How files begin that some call text."""

BROKEN = (OSError, EOFError, zlib.error)
"""What reading a broken file raises."""


def check_unpacked(name: str, packed: int, unpacked: int, most_ratio: int = 100) -> None:
    """Refuse a file that unfolds to far more than real data do.

    Raises:
        DataError: It does.
    """
    if unpacked > max(_MOST_UNPACKED_BYTES, most_ratio * packed):
        raise DataError(
            f"{name}: {packed:,} bytes unfold to over {most_ratio} times as much; write it unpacked if that is right"
        )


def check_rows(name: str, size: int, rows: int) -> None:
    """Refuse a file of more rows than real data of that size have.

    Raises:
        DataError: It has.
    """
    if rows > MOST_ROWS + size:
        raise DataError(f"{name}: over {MOST_ROWS + size:,} rows in {size:,} bytes; limit=... reads the first of them")


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file of text, unpacked if they are packed by gzip; then it cannot be sought in.

    Raises:
        DataError: It is of another kind, whatever it is called.
    """
    with path.open("rb") as file:
        head = file.peek(16)
        for beginning, kind in _OTHERS.items():
            if head.startswith(beginning) and any(byte < 9 or byte > 126 for byte in head[:16]):  # PAR1 may be a name
                raise DataError(f"{path.name}: is {kind}, and no text, by its first bytes; name it so, or unpack it")
        if file.peek(2)[:2] != _GZIP:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield io.BufferedReader(_Unpacked(path, unpacked), _CHUNK_BYTES)


class _Unpacked(io.RawIOBase):
    """The bytes of a packed file, which has a ceiling for those and for their lines."""

    def __init__(self, path: Path, file: gzip.GzipFile) -> None:
        self._name, self._packed, self._file = path.name, path.stat().st_size, file
        self._bytes = self._lines = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        data = self._file.read1(len(buffer))
        self._bytes += len(data)
        self._lines += data.count(b"\n")
        check_unpacked(self._name, self._packed, self._bytes)
        check_rows(self._name, self._packed, self._lines)
        buffer[: len(data)] = data
        return len(data)


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines that end in ``\\n``; of one over ``MOST_LINE_BYTES``, only a little more than that many bytes."""
    while line := file.readline(MOST_LINE_BYTES + 1):
        yield line
        if len(line) > MOST_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(_CHUNK_BYTES)) and not rest.endswith(b"\n"):
                pass


def any_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines that end in ``\\n``, ``\\r\\n`` or ``\\r``.

    Raises:
        ValueError: One is over ``MOST_LINE_BYTES``.
    """
    rest = b""
    while chunk := file.read(max(_CHUNK_BYTES, len(rest))):
        found = (rest + chunk).splitlines(keepends=True)
        rest = found.pop()  # it may go on, were it a carriage return whose line feed comes next
        if len(rest) > MOST_LINE_BYTES:
            raise ValueError(f"a line is longer than {MOST_LINE_BYTES:,} bytes")
        yield from found
    if rest:
        yield rest
