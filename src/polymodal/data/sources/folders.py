"""Folders: one scan lists the files of a folder and finds what its rows are."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import PurePosixPath

from polymodal.data.paths import Files
from polymodal.data.sources import hugging_face, json_rows, shards, tables
from polymodal.data.sources.base import Record, Source
from polymodal.data.sources.endings import medium_of
from polymodal.data.sources.media import MediaFiles
from polymodal.errors import DataError

_ABOUT = ("readme", "license", "licence", "thumbs.db", "desktop.ini")
_PEEK_ROWS = 100


def open_folder(files: Files, encoding: str | None = None) -> Source:
    """The source that a folder is: a saved data set, tables, tar shards, or pictures, sounds and texts.

    Tables and shards may lie in folders below it. Where there are pictures or sounds beside tables, the tables are the
    rows if a cell names one of them or if they have more rows.

    Args:
        files: Those of the folder.
        encoding: Encoding of delimited text that is not UTF-8.

    Raises:
        DataError: There is nothing in it that could be rows.
    """
    folder = files.folder
    assert folder is not None
    if hugging_face.is_saved(folder):
        return hugging_face.open_saved(folder, files)
    names, notes = scan(files)
    if not names:
        raise DataError(f"{folder}: the folder is empty" + "".join(f"; {note}" for note in notes))
    source, rest = _source(names, files, encoding)
    if source is None:
        raise DataError(f"{folder}: none of its {len(names)} files is a table, a shard, a picture, a sound or a text")
    rest = [name for name in rest if not PurePosixPath(name).name.lower().startswith(_ABOUT)]
    if rest:
        notes.append(f"files that belong to no row: {len(rest):,}, the first {rest[0]!r}")
    for note in notes:
        source.note(note)
    return source


def scan(files: Files) -> tuple[list[str], list[str]]:
    """The files of a folder, those of its folders last, by their paths from it; and in sentences, what was left out.

    Hidden files are no files. Links are followed if they lead to what may be read, and each folder is read once.

    Raises:
        DataError: A folder cannot be read.
    """
    names: list[str] = []
    refused: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        below = []
        for entry in _entries(files, folder):
            path = f"{folder}{entry.name}"
            if entry.is_symlink() and not (os.path.exists(entry.path) and files.allows(entry.path)):
                refused.append(path)
            elif entry.is_dir():
                status = entry.stat()
                if (status.st_dev, status.st_ino) not in seen and (files.follow_links or not entry.is_symlink()):
                    seen.add((status.st_dev, status.st_ino))
                    below.append(f"{path}/")
            elif entry.is_file():
                names.append(path)
        waiting.extend(reversed(below))
    if not refused:
        return names, []
    lead = f"links that lead out of the folder or to nothing: {len(refused):,}, the first {refused[0]!r}"
    return names, [f"{lead}; follow_links=True follows them"]


def _entries(files: Files, folder: str) -> list[os.DirEntry[str]]:
    assert files.folder is not None
    try:
        with os.scandir(files.folder / folder) as entries:
            visible = (entry for entry in entries if not entry.name.startswith((".", "__MACOSX")))
            return sorted(visible, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{files.folder / folder}: cannot be read: {error.strerror}") from error


def _source(names: list[str], files: Files, encoding: str | None) -> tuple[Source | None, list[str]]:
    """What the rows are, and the files that are none of them."""
    assert files.folder is not None
    media = [name for name in names if medium_of(name)]
    packed = [name for name in names if name.lower().endswith(shards.ENDINGS)]
    found = _tables(names, media, files, encoding)
    of_shards = found is not None and {*map(_stem, found.tables)} & {*map(_stem, packed)}
    if found is not None and not of_shards and (not media or _hold_the_rows(found, media)):
        files.unused = {str(files.folder / name) for name in media}
        used = {*found.tables, *media}
        return found, [name for name in names if name not in used]
    if packed:
        used = {*packed}
        source = shards.WebDataset({name: files.folder / name for name in packed}, str(files.folder))
        return source, [name for name in names if name not in used]
    loose = MediaFiles(names, files)
    return (loose, loose.unused) if loose.rows else (None, names)


def _tables(names: list[str], media: list[str], files: Files, encoding: str | None) -> tables.Tables | None:
    """The tables that share a column with the largest; of one table in several formats, the first of ``ENDINGS``."""
    assert files.folder is not None
    paths = {name: files.folder / name for name in names}
    with_media = {*map(_stem, media)}

    def is_table(name: str, ending: str) -> bool:
        if ending in tables.DOCUMENTS:
            return _stem(name) not in with_media and json_rows.has_rows(paths[name])
        return name.lower().endswith(ending)

    formats: dict[str, str] = {}
    for ending in tables.ENDINGS:
        for name in names:
            if name.lower().endswith(ending) and _stem(name) not in formats and is_table(name, ending):
                formats[_stem(name)] = name
    found = [name for name in names if name in {*formats.values()}]
    if not found:
        return None
    every = tables.Tables({name: paths[name] for name in found}, files, encoding)
    if len(found) > 1:
        columns = {name: {*every.columns_of(name, paths[name], most_rows=1)} for name in found}
        largest = max(found, key=lambda name: paths[name].stat().st_size)
        found = [name for name in found if name == largest or columns[name] & columns[largest]]
    return tables.Tables({name: paths[name] for name in found}, files, encoding)


def _stem(name: str) -> str:
    """A path without its ending."""
    known = (ending for ending in (*tables.ENDINGS, *shards.ENDINGS) if name.lower().endswith(ending))
    ending = max(known, key=len, default=PurePosixPath(name).suffix)
    return name[: len(name) - len(ending)]


def _hold_the_rows(source: Source, media: Sequence[str]) -> bool:
    """Whether the rows are those of the tables, not the files beside them."""
    known = {PurePosixPath(name).name for name in media}
    for record in islice(source.records(source.columns()), _PEEK_ROWS):
        if isinstance(record, Record):
            cells = (cell for cell in record.cells.values() if isinstance(cell, str))
            if any(cell.replace("\\", "/").rpartition("/")[2] in known for cell in cells):
                return True
    return sum(1 for _ in islice(source.records(()), len(media))) == len(media)
