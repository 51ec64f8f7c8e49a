"""WebDataset: tar files in which the parts of a row lie together, told apart by their endings."""

import json
import re
import tarfile
from collections.abc import Collection, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from polymodal.data.sources.base import Record, Rejection, Source
from polymodal.errors import DataError

_TEXT = ("txt", "cls")
SUFFIXES = (".tar", ".tar.gz", ".tgz")


class WebDataset(Source):
    """Members ``key.ending`` -> one row per key, with one column per ending and the key in ``__key__``.

    A column may name several endings, of which a row has one: ``jpg;png``. The keys of a ``json`` member's object are
    columns too. Nothing is unpacked to the disk.

    Source: Aizman, Maltby and Breuel, "High performance I/O for large scale deep learning", 2019.
    """

    def __init__(self, shards: Sequence[Path]) -> None:
        super().__init__(shards[0].name if len(shards) == 1 else str(shards[0].parent))
        self.shards = shards

    def columns(self) -> list[str]:
        names = super().columns()
        return [name for name in names if name != "__key__"]

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        for shard in self.shards:
            row = 0
            try:
                with tarfile.open(shard) as tar:
                    for row, (key, members) in enumerate(_samples(tar), 1):
                        try:
                            yield Record(shard.name, row, _cells(tar, key, members, columns))
                        except DataError as error:
                            yield Rejection(shard.name, row, None, str(error))
            except (tarfile.TarError, EOFError, OSError) as error:
                yield Rejection(shard.name, row + 1, None, f"the shard is broken from here on: {error}")


def _samples(tar: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Members with the same name up to the first dot, one row after another."""
    key = ""
    members: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        folder, _, name = member.name.rpartition("/")
        stem, dot, ending = name.partition(".")
        if not stem or not dot or member.isdir():  # folders, hidden files and what has no ending
            continue
        this = f"{folder}/{stem}" if folder else stem
        if this != key and members:
            yield key, members
            members = {}
        key = this
        members[ending.lower()] = member
    if members:
        yield key, members


def _cells(
    tar: tarfile.TarFile, key: str, members: dict[str, tarfile.TarInfo], columns: Collection[str]
) -> dict[str, Any]:
    cells: dict[str, Any] = {"__key__": key}
    if "json" in members:
        try:
            notes = json.loads(_content(tar, members["json"]))
        except (ValueError, RecursionError) as error:
            raise DataError(f"its json is broken: {error}") from error
        cells |= notes if isinstance(notes, dict) else {"json": notes}
    wanted = {ending for column in columns for ending in column.split(";")}
    for ending, member in members.items():
        if ending in wanted:
            content = _content(tar, member)
            cells[ending] = _text(content) if ending in _TEXT else content
        elif not columns:
            cells[ending] = None
    for column in columns:
        if ";" in column and (found := [cells[name] for name in column.split(";") if name in cells]):
            cells[column] = found[0]
    return cells


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isreg():
        raise DataError(f"'{member.name}' is no regular file")
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


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
    """
    parts = []
    for part in re.split(r"(\{[^{}]*\})", pattern):
        if span := re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part):
            first, last = span.groups()
            parts.append([f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)])
        else:
            parts.append(part[1:-1].split(",") if part.startswith("{") else [part])
    return ["".join(choice) for choice in product(*parts)]
