"""WebDataset: tar files in which the parts of a row have one name, told apart by their endings."""

import os
import re
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Self

from polymodal.data.sources.base import Record, Rejection, Source
from polymodal.data.sources.endings import media
from polymodal.data.sources.json_rows import loads
from polymodal.data.sources.reading import BROKEN, open_binary
from polymodal.data.splits import split_in_path
from polymodal.errors import DataError

ENDINGS = (".tar", ".tar.gz", ".tgz")
KEY = "__key__"
Member = bytes | DataError | None
"""Content, why it cannot be read, or None if it was not asked for."""

_TEXT = ("txt", "cls", "caption", "text")
_NOTES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PEEK_MEMBERS = 1000
_MOST_MEMBER_BYTES = 1 << 28
_MOST_NOTE_BYTES = 1 << 20
_MOST_NAMES = 100_000
_BROKEN = (tarfile.TarError, *BROKEN, ValueError, RecursionError)


class WebDataset(Source):
    """Members ``key.ending`` -> one row per key, with one column per ending and the key in ``__key__``.

    A key ends at the first dot of a name, unless what follows differs from row to row, as in ``img.1.jpg``: then at the
    last. Members of a row need not lie together, but in a packed shard, which is read from its beginning to its end, a
    key that comes again is set aside. A column may name several endings, of which a row has one: ``jpg;png``; ``image``
    and ``audio`` are the row's only picture and sound, whatever its ending. The keys of a ``json`` member's object are
    columns too. Nothing is unpacked to the disk.

    Args:
        shards: Tar files by name.
        name: For messages.

    Source: Aizman, Maltby and Breuel, "High performance I/O for large scale deep learning", 2019.
    """

    def __init__(self, shards: dict[str, Path], name: str) -> None:
        super().__init__(name)
        self.shards = shards
        self.size = sum(path.stat().st_size for path in shards.values())
        self._dotted: bool | None = None

    def columns(self) -> list[str]:
        endings: dict[str, None] = {}
        together: set[str] = set()  # kinds of which a row has several
        for record in self.records(()):
            if isinstance(record, Record):
                endings |= dict.fromkeys(record.cells)
                together |= {kind for kind, known in media().items() if len(known & record.cells.keys()) > 1}
        names = [name for name in endings if name != KEY]
        for kind, known in media().items():
            ours = [name for name in names if name in known]
            if len(ours) > 1 and kind not in together and kind not in names:
                names[names.index(ours[0])] = kind
                names = [name for name in names if name not in ours]
        return names

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        asked = {ending for column in columns for ending in column.split(";")}
        kinds = {kind: known for kind, known in media().items() if kind in columns}
        wanted = asked.union({"json"}, *kinds.values())
        for file, shard in self.shards.items():
            split, row = split_in_path(file), 0
            try:
                for row, (key, members) in enumerate(self._rows(shard, wanted), 1):
                    try:
                        yield Record(file, row, _cells(key, members, columns, asked, kinds), split)
                    except DataError as error:
                        yield Rejection(file, row, None, str(error))
            except _BROKEN as error:
                yield Rejection(file, row + 1, None, f"the shard is broken from here on: {error}")

    def _rows(self, shard: Path, wanted: Collection[str]) -> Iterator[tuple[str, dict[str, Member] | DataError]]:
        if self._dotted is None:
            with suppress(*_BROKEN), open_binary(shard) as file:
                self._dotted = _keys_have_dots([name for name, *_ in islice(_members(file), _PEEK_MEMBERS)])
        with open_binary(shard) as file:
            yield from (_indexed if file.seekable() else _streamed)(file, wanted, bool(self._dotted))


class _Header(tarfile.TarInfo):
    """What a tar says of a member, refused where it would fill the memory or be read again and again."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _NOTES and header.size > _MOST_NOTE_BYTES):
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


def _members(file: BinaryIO) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Members that may be a row's, with their names: not folders, nor what is hidden or has no ending."""
    # A tar that is packed is read as a stream, never backwards; one that another program has packed is refused.
    with tarfile.open(fileobj=file, mode="r:" if file.seekable() else "r|", tarinfo=_Header) as tar:
        end = -1
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # which would grow
            if tar.offset <= end:
                raise tarfile.ReadError("a member of less than no bytes")
            end = tar.offset
            name = member.name.rpartition("/")[2]
            if not member.isdir() and "." in name[1:-1] and name[0] != ".":
                yield member.name, member, tar


def _indexed(file: BinaryIO, wanted: Collection[str], dotted: bool) -> Iterator[tuple[str, dict[str, Member]]]:
    """Rows by their first member; the others may lie anywhere in the shard."""
    rows: list[tuple[str, dict[str, tuple[int, int] | DataError]]] = []
    by_key: dict[str, dict[str, tuple[int, int] | DataError]] = {}
    broken: Exception | None = None
    size = os.fstat(file.fileno()).st_size
    try:
        for name, member, _ in _members(file):
            if member.isreg() and not member.issparse() and member.offset_data + member.size > size:
                raise tarfile.ReadError("unexpected end of data")
            key, ending = _parts(name, dotted)
            if ending in by_key.get(key, {ending: None}):  # the first of its key, or of another row with the same key
                by_key[key] = {}
                rows.append((key, by_key[key]))
            by_key[key][ending] = _problem(member) or (member.offset_data, member.size)
    except _BROKEN as error:
        broken = error
    for key, places in rows:
        members: dict[str, Member] = {}
        for ending, place in places.items():
            if isinstance(place, tuple) and ending in wanted:
                file.seek(place[0])
                members[ending] = file.read(place[1])
            else:
                members[ending] = place if isinstance(place, DataError) else None
        yield key, members
    if broken:
        raise broken


def _streamed(
    file: BinaryIO, wanted: Collection[str], dotted: bool
) -> Iterator[tuple[str, dict[str, Member] | DataError]]:
    """Rows of members with one key that follow each other."""
    last, members = "", dict[str, Member]()
    seen: set[str] = set()
    again = DataError("its key comes again: in a packed shard the members of a row must lie together; unpack it")
    for name, member, tar in _members(file):
        key, ending = _parts(name, dotted)
        if members and (key != last or ending in members):
            yield last, again if last in seen else members
            seen.add(last)
            members = {}
        last = key
        content = tar.extractfile(member) if ending in wanted and not _problem(member) else None
        members[ending] = _problem(member) or (content.read() if content else None)
    if members:
        yield last, again if last in seen else members


def _problem(member: tarfile.TarInfo) -> DataError | None:
    """Why a member cannot be read."""
    if not member.isreg() or member.issparse():
        return DataError(f"'{member.name}' is no regular file")
    if member.size > _MOST_MEMBER_BYTES:
        return DataError(f"'{member.name}' has {member.size:,} bytes; at most {_MOST_MEMBER_BYTES:,} are read")
    return None


def _parts(name: str, dotted: bool) -> tuple[str, str]:
    """Key and ending."""
    folder, slash, file = name.rpartition("/")
    key, _, ending = file.rpartition(".") if dotted else file.partition(".")
    return folder + slash + key, ending.lower()


def _keys_have_dots(names: list[str]) -> bool:
    """Whether what lies between the first and the last dot tells rows apart, rather than columns."""
    first, last = ([_parts(name, dotted) for name in names] for dotted in (False, True))
    keys, endings = {key for key, _ in first}, {ending for _, ending in first}
    filled = len(names) / max(1, len(keys) * len(endings))
    filled_otherwise = len(names) / max(1, len({key for key, _ in last}) * len({ending for _, ending in last}))
    dotted = sum("." in ending for ending in endings)
    return (dotted > len(keys) and filled_otherwise >= filled) or (dotted == len(keys) and filled_otherwise > filled)


def _cells(
    key: str,
    members: dict[str, Member] | DataError,
    columns: Collection[str],
    asked: Collection[str],
    kinds: Mapping[str, Collection[str]],
) -> dict[str, Any]:
    if isinstance(members, DataError):
        raise members
    cells: dict[str, Any] = {}
    if (content := members.get("json")) is not None:
        notes = _notes(content)
        cells |= notes if isinstance(notes, dict) else {"json": notes}
    cells[KEY] = key
    for ending, content in members.items():
        if ending in asked and (ending != "json" or "json" not in cells):
            cells[ending] = _text(content) if ending in _TEXT and isinstance(content, bytes) else content
        elif not columns and ending != "json":
            cells[ending] = None
    for column in columns:
        if column not in cells:
            names = column.split(";") if ";" in column else [name for name in members if name in kinds.get(column, ())]
            found = [name for name in names if name in cells or members.get(name) is not None]
            if found:
                cells[column] = cells.get(found[0], members.get(found[0]))
    return cells


def _notes(content: bytes | DataError) -> Any:
    if isinstance(content, DataError):
        raise content
    try:
        return loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"its json is broken: {error}") from error


def _text(content: bytes) -> str | bytes:
    """Text as str; what is no UTF-8 stays, so that the field's modality refuses it."""
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return content


def expand(pattern: str) -> list[str]:
    """``s-{000..002}.tar`` or ``{a,b}.tar`` -> the names that it means.

    >>> expand("{a,b}-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']

    Raises:
        DataError: It means none, or too many.
    """
    parts: list[tuple[Sequence[Any], str]] = []
    for part in re.split(r"(\{[^{}]*\})", pattern):
        if span := re.fullmatch(r"\{(\d{1,18})\.\.(\d{1,18})\}", part):
            parts.append((range(int(span[1]), int(span[2]) + 1), f"0{len(span[1])}d"))
        else:
            parts.append((part[1:-1].split(",") if part[:1] == "{" and part[-1:] == "}" else [part], ""))
    count = prod(len(options) for options, _ in parts)
    if not 0 < count <= _MOST_NAMES:
        raise DataError(f"{pattern}: means {count:,} names; from 1 to {_MOST_NAMES:,} are right")
    return ["".join(choice) for choice in product(*([format(one, how) for one in options] for options, how in parts))]
