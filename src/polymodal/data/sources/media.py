"""Files of pictures, sound and text: names say what belongs together, folders what is a class or a split."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from polymodal.data.cells import resolve
from polymodal.data.paths import Files
from polymodal.data.sources.base import Record, Rejection, Source
from polymodal.data.sources.endings import media, medium_of
from polymodal.data.sources.json_rows import loads
from polymodal.data.sources.reading import MOST_LINE_BYTES
from polymodal.data.splits import is_split_column, split_in_name
from polymodal.errors import DataError
from polymodal.modalities import Modality
from polymodal.modalities.text import decode_text

_NOTES = {"txt": "text", "caption": "caption", "cls": "cls", "json": "json"}
_KIND_FOLDERS = {
    *("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "jpg", "jpeg", "png"),
    *("audio", "audios", "sound", "sounds", "speech", "voice", "wav", "wavs", "mp3", "clips"),
    *("video", "videos", "film", "films", "mp4", "webm", "gif", "gifs"),
    *("text", "texts", "txt", "caption", "captions", "description", "descriptions", "annotations", "labels", "json"),
}
"""Names of folders that part the pictures and films of rows from their sounds and texts."""

Group = Mapping[str, Sequence[str]]
"""Names of files with one name but for the ending, by kind."""


class MediaFiles(Source):
    """Files with one name but for the ending -> a row.

    Columns are ``image``, ``audio``, ``text``, ``caption``, ``cls`` and the keys of a ``json`` object, as far as there
    are such files, and ``label``, ``__key__`` and ``split``.

    Of several pictures or sounds with one name, each is a row. Where there are neither, each text is. Folders name the
    ``label``, without those that name splits and those that only part pictures from sounds and texts.

    Args:
        names: Paths of files from the data folder.
        files: Those that may be read.

    Attributes:
        rows: Names of files by kind for each row, its first file first.
        unused: Names that belong to no row.
    """

    def __init__(self, names: Sequence[str], files: Files) -> None:
        super().__init__(str(files.folder), files)
        kinds = {name: kind for name in names if (kind := column_of(name)) is not None}
        folders = {name: PurePosixPath(name).parent.parts for name in kinds}
        main = [kind for kind in media() if kind in kinds.values()] or ["text"]
        self._split_level = _split_level([folders[name] for name, kind in kinds.items() if kind in main])
        self._kind_level = _kind_level(kinds, folders)
        groups: dict[tuple[str, ...], dict[str, list[str]]] = {}
        for name, kind in kinds.items():
            key = (*_without(folders[name], {self._kind_level}), PurePosixPath(name).stem)
            groups.setdefault(key, {}).setdefault(kind, []).append(name)
        self.rows = [row for group in groups.values() for row in _rows(group, main)]
        used = {name for row in self.rows for name in row.values()}
        self.unused = [name for name in names if name not in used]
        firsts = [folders[next(iter(row.values()))] for row in self.rows]
        self._unnamed = {self._split_level, self._kind_level}
        if self._split_level is not None and len({parts[: self._split_level] for parts in firsts}) == 1:
            self._unnamed |= {*range(self._split_level)}

    def columns(self) -> list[str]:
        found = {kind for row in self.rows for kind in row}
        fixed = [kind for kind in (*media(), "text", "caption", "cls") if kind in found]
        return list(
            dict.fromkeys([*fixed, "label", *(super().columns() if "json" in found else ()), "__key__", "split"])
        )

    def raw_of(self, cell: Any, modality: Modality, file: str) -> Any:
        return resolve(cell, modality, self.files)  # these paths start from the data folder

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        known = {*media(), "label", "__key__", "split", *_NOTES.values()} - {"json"}
        with_notes = not columns or not known.issuperset(columns)
        for number, row in enumerate(self.rows, 1):
            first = next(iter(row.values()))
            folders = PurePosixPath(first).parent.parts
            level = self._split_level
            split = split_in_name(folders[level]) if level is not None and level < len(folders) else None
            cells: dict[str, Any] = {
                "label": "/".join(_without(folders, self._unnamed)),
                "__key__": first,
                "split": split,
            }
            for kind, name in row.items():
                if kind in media():
                    cells[kind] = name
                elif kind == "json" and with_notes:
                    cells = {**self._object(name), **cells}
                elif kind in columns:
                    cells[kind] = self._content(name)
            yield Record(first, number, cells, split)

    def _content(self, name: str) -> str | DataError:
        try:
            path = self.files.find(name)
            if path.stat().st_size > MOST_LINE_BYTES:
                raise DataError(f"'{name}' is longer than {MOST_LINE_BYTES:,} bytes")
            return decode_text(path)
        except (DataError, OSError) as error:
            return error if isinstance(error, DataError) else DataError(f"'{name}' cannot be read: {error.strerror}")

    def _object(self, name: str) -> dict[str, Any]:
        content = self._content(name)
        try:
            found = loads(content) if isinstance(content, str) else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self.note(f"'{name}' is no JSON object, and is left out")
        return found if isinstance(found, dict) else {}


def column_of(name: str) -> str | None:
    """The column that a file is a cell of, by its ending; None if there is none."""
    return medium_of(name) or _NOTES.get(PurePosixPath(name).suffix[1:].lower())


def _rows(group: Group, main: Sequence[str]) -> Iterator[dict[str, str]]:
    notes = {kind: names[0] for kind, names in group.items() if kind not in main}
    ours = {kind: group[kind] for kind in main if kind in group}
    if any(len(names) > 1 for names in ours.values()):
        yield from ({kind: name, **notes} for kind, names in ours.items() for name in names)
    elif ours:
        yield {kind: names[0] for kind, names in ours.items()} | notes


def _without(folders: Sequence[str], levels: Collection[int | None]) -> Iterator[str]:
    return (folder for level, folder in enumerate(folders) if level not in levels)


def _split_level(folders: Sequence[tuple[str, ...]]) -> int | None:
    """The first level of which every folder is named after a split."""
    for level in range(max(map(len, folders), default=0)):
        names = {parts[level] for parts in folders if len(parts) > level}
        if all(map(split_in_name, names)) and (len(names) > 1 or is_split_column(names)):
            return level
    return None


def _kind_level(kinds: Mapping[str, str], folders: Mapping[str, tuple[str, ...]]) -> int | None:
    """The first level of which every folder is named after a kind of its own and holds nothing else."""
    for level in range(max(map(len, folders.values()), default=0)):
        held: dict[str, set[str]] = {}
        for name, kind in kinds.items():
            if len(folders[name]) > level:
                held.setdefault(folders[name][level].lower(), set()).add(kind)
        every = [kind for found in held.values() for kind in found]
        if len(held) > 1 and held.keys() <= _KIND_FOLDERS and len(held) == len(every) == len({*every}):
            return level
    return None
