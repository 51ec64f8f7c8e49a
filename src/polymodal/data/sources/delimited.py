"""Delimited text: the one reader of CSV, TSV and their kin, which knows the bytes of every row."""

import codecs
import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

from polymodal.data.sources.reading import BROKEN, MOST_LINE_BYTES, any_lines, open_binary
from polymodal.errors import DataError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

_SAMPLE_BYTES = 1 << 16
_SAMPLE_ROWS = 200
_MARKS = {  # UTF-32 before UTF-16, whose mark begins its own
    "utf-8": codecs.BOM_UTF8,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_LINE_END = re.compile(r"[\r\n]*\Z")


@dataclass(slots=True)
class Row:
    """A row as it is in the file.

    Attributes:
        raw: Its bytes, the end of its last line included.
        cells: In order; none of a line that is empty.
        problem: Why there are no cells, if they cannot be told apart.
    """

    raw: bytes
    cells: list[str]
    problem: str | None = None


class DelimitedFile:
    """Rows of text under a header, told apart by commas, semicolons, tabs or vertical bars.

    Encoding and separator are recognised by the first 64 KiB: UTF-8, or what a byte order mark says; the separator
    that splits most rows as it splits the header. A row whose quotes are wrong is a problem of that row alone.

    Args:
        path: Path of the file, which may be packed by gzip.
        encoding: Encoding of the file, if it is not UTF-8 and has no byte order mark.

    Attributes:
        encoding: As Python names it.
        separator: One character.
        header: All names, those that are empty included.
        head: The bytes before the first row.
        columns: Place of each column that has a name, by name.

    Raises:
        DataError: The file cannot be read, is of another encoding, or names a column twice.
    """

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path, self.head = path, b""
        csv.field_size_limit(max(csv.field_size_limit(), MOST_LINE_BYTES))
        try:
            with open_binary(path) as file:
                sample = file.read(_SAMPLE_BYTES)
            self._mark, self.encoding = _encoding(path.name, sample, encoding)
            text = self._sample(sample[len(self._mark) :], whole=len(sample) < _SAMPLE_BYTES)
            self._recognise(list(io.StringIO(text, newline="")))
            self.header: list[str] = []
            for row in self._rows():
                self.head += row.raw
                if row.problem:
                    raise DataError(f"{path.name}: the header cannot be read: {row.problem}")
                if row.cells and not (row.raw == self.head and _SEPARATOR_LINE.fullmatch(self._text(row))):
                    self.header = row.cells
                    break
        except DataError:
            raise
        except (*BROKEN, ValueError) as error:
            raise DataError(f"{path.name}: cannot be read: {error}") from error
        names = [name for name in self.header if name]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{path.name}: the header names the column '{twice}' twice")
        self._check_width(text)
        self.columns = {name: place for place, name in enumerate(self.header) if name}
        self.head = self._mark + self.head

    def rows(self) -> Iterator[Row]:
        """All rows under the header, empty lines included.

        Raises:
            DataError: The file cannot be read any further.
        """
        before = len(self.head) - len(self._mark)
        try:
            for row in self._rows():
                before -= len(row.raw)
                if before < 0:
                    yield self._checked(row)
        except DataError:
            raise
        except (*BROKEN, ValueError) as error:
            raise DataError(f"{self.path.name}: cannot be read: {error}") from error

    def changed(self, row: Row, cells: Mapping[int, str], added: Sequence[str] = ()) -> bytes:
        """The bytes of a row in which some cells, by place, are others and some are added; the rest as it was.

        Raises:
            DataError: A cell cannot be written in the file's encoding.
        """
        text = self._text(row)
        end = _LINE_END.search(text)
        assert end is not None
        there = self._split(text[: end.start()])
        while added and len(there) > len(self.header) and not there[-1]:  # separators behind the last column
            there.pop()
        for place, cell in cells.items():
            there[place] = self._quoted(cell, always=there[place].startswith('"'))
        changed = self.separator.join([*there, *map(self._quoted, added)]) + end.group()
        try:
            return changed.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise DataError(
                f"{self.path.name}: '{changed[error.start]}' is no letter of {self.encoding}; save the file as UTF-8"
            ) from error

    def _check_width(self, sample: str) -> None:
        """Refuses a file of which most rows are wider than its first line, which then is no header."""
        width = len(self.header)
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=self.separator)
        try:
            rows = [row for row in islice(reader, _SAMPLE_ROWS) if row][1:]
        except csv.Error:
            return
        wider = Counter(len(row) for row in rows if len(row) > width and any(row[width:]))
        (most, count), *_ = wider.most_common(1) or [(0, 0)]
        if count > 2 and 4 * count >= 3 * len(rows):
            raise DataError(
                f"{self.path.name}: the first line has {_cells(width)}, and most of the others {most}; delete what "
                "stands above the header, name all columns, or put quotes around cells that hold "
                f"{SEPARATORS.get(self.separator, repr(self.separator))}"
            )

    def _text(self, row: Row) -> str:
        return row.raw.decode(self.encoding)

    def _split(self, text: str) -> list[str]:
        """A row's text -> that of its cells, quotes included."""
        blank, separator = " *" * self._blank_follows, re.escape(self.separator)
        cell = re.compile(rf'{blank}"(?:[^"]|"")*"(?=\Z|{separator})|[^{separator}]*')
        cells, place = [], 0
        while place <= len(text):
            found = cell.match(text, place)
            assert found is not None
            cells.append(found.group())
            place = found.end() + 1
        return cells

    def _quoted(self, cell: str, *, always: bool = False) -> str:
        file = io.StringIO()
        how: Literal[0, 2] = csv.QUOTE_NONNUMERIC if always else csv.QUOTE_MINIMAL
        writer = csv.writer(file, delimiter=self.separator, quoting=how)
        writer.writerow([cell, 0])  # alone, an empty cell would be quoted
        return file.getvalue().rpartition(self.separator)[0]

    def _sample(self, sample: bytes, *, whole: bool) -> str:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        try:
            text = decoder.decode(sample, final=whole)
            return text if whole or "\n" not in text else text[: text.rindex("\n") + 1]
        except UnicodeDecodeError as error:
            line = sample[: error.start].count(b"\n") + 1
            raise DataError(f"{self.path.name}, line {line}: {self._undecodable(sample, error.start)}") from None

    def _undecodable(self, line: bytes, place: int) -> str:
        other = "such as encoding='cp1252'" if self.encoding == "utf-8" else "encoding='...'"
        known = self.encoding.upper()
        return f"byte 0x{line[place]:02x} is no {known}; save the file as UTF-8, or say what it is: {other}"

    def _recognise(self, lines: list[str]) -> None:
        """Separator, and whether a blank follows each."""
        if lines and (said := _SEPARATOR_LINE.fullmatch(lines[0])):
            self.separator, lines = said.group(1), lines[1:]
        else:
            name = self.path.name.lower().removesuffix(".gz")
            self.separator = _separator(lines, "\t" if name.endswith((".tsv", ".tab")) else ",")
        header = next((line for line in lines if line.strip()), "").rstrip("\r\n").split(self.separator)
        self._blank_follows = len(header) > 1 and all(name.startswith(" ") for name in header[1:])

    def _rows(self) -> Iterator[Row]:
        with open_binary(self.path) as file:
            file.read(len(self._mark))
            lines = _Lines(file, self.encoding)
            while True:
                reader = csv.reader(lines, delimiter=self.separator, strict=True, skipinitialspace=self._blank_follows)
                try:
                    for cells in reader:
                        taken = lines.take()
                        problem = None if lines.broken is None else self._undecodable(*lines.broken)
                        yield Row(taken[0] if len(taken) == 1 else b"".join(taken), [] if problem else cells, problem)
                        lines.broken = None
                    return
                except csv.Error as error:
                    first, *rest = lines.take()
                    lines.give_back(rest)
                    yield self._literal(first, str(error))

    def _literal(self, line: bytes, error: str) -> Row:
        """A line whose quotes are wrong; tabs often part cells in which a quote is a letter like others."""
        if self.separator == "\t":
            text = line.decode(self.encoding, errors="replace")
            cells = text.rstrip("\r\n").split("\t")
            if len(cells) == len(self.header) and "\ufffd" not in text:
                return Row(line, cells)
        return Row(line, [], f"its quotes are wrong: {error}")

    def _checked(self, row: Row) -> Row:
        """A row with as many cells as the header, or a problem."""
        width = len(self.header)
        if row.cells and len(row.cells) != width:
            if len(row.cells) > width and not any(row.cells[width:]):
                del row.cells[width:]
            else:
                row.problem = f"{_cells(len(row.cells))} under a header of {width}"
                row.cells = []
        return row


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


class _Lines:
    """Lines of text for ``csv.reader``, which remembers the bytes of those that were read."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._encoding = encoding
        self._lines = any_lines(file) if "\n".encode(encoding) == b"\n" else _wide_lines(file, encoding)
        self._waiting: deque[bytes] = deque()
        self._taken: list[bytes] = []
        self._bytes = 0
        self.broken: tuple[bytes, int] | None = None
        """A line that could not be decoded, and where."""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._lines)
        self._taken.append(line)
        self._bytes += len(line)
        if self._bytes > MOST_LINE_BYTES:
            raise csv.Error(f"a quote is not closed for {MOST_LINE_BYTES:,} bytes")
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError as error:
            self.broken = self.broken or (line, error.start)
            return line.decode(self._encoding, errors="replace")

    def take(self) -> list[bytes]:
        """The lines that were read since this was asked for the last time."""
        taken, self._taken, self._bytes = self._taken, [], 0
        return taken

    def give_back(self, lines: list[bytes]) -> None:
        """Lines to be read again."""
        self._waiting.extendleft(reversed(lines))
        self.broken = None


def _wide_lines(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Lines of an encoding in which a line end is more than a byte."""
    with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
        for line in text:
            yield line.encode(encoding)


def _encoding(name: str, sample: bytes, given: str | None) -> tuple[bytes, str]:
    """The byte order mark of a file, and its encoding."""
    for encoding, mark in _MARKS.items():
        if sample.startswith(mark):
            return mark, encoding
    if given is None and sample.count(b"\0") > len(sample) // 4:
        raise DataError(
            f"{name}: zero bytes, as of UTF-16; save the file as UTF-8, or say what it is: encoding='utf-16'"
        )
    try:
        encoding = codecs.lookup(given or "utf-8").name
        "\n".encode(encoding)
    except LookupError:
        raise DataError(f"encoding: '{given}' is none that Python knows; 'cp1252' and 'utf-16' are examples") from None
    # Without a mark these would look for one, or write one with every row.
    return b"", {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(encoding, encoding)


def _separator(lines: list[str], first: str) -> str:
    """What splits most lines as it splits the header: ``first``, unless another does so in clearly more of them."""
    best, most = first, 0.0
    for separator in dict.fromkeys([first, *SEPARATORS]):
        try:
            rows = islice((row for row in csv.reader(lines, delimiter=separator) if row), _SAMPLE_ROWS)
            widths = [len(row) for row in rows]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            share = widths.count(widths[0]) / len(widths)
            if share > most + 0.1:
                best, most = separator, share
    return best
