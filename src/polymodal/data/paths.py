"""Paths: which file a path in a cell means, and whether it may be read."""

import os
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from unicodedata import normalize

from polymodal.errors import DataError

_ABSOLUTE = re.compile(r"([A-Za-z]:)?[/\\]")
_MOST_FOLDERS = 32


class Files:
    """The files that paths in cells may mean: those below the data folder and below ``root``, and no others.

    A path starts from ``root``, from the folder of the table that names it, or from the data folder; the first that has
    the file decides. Where none has it, the path is read as other systems write it: with backslashes, with other forms
    of accented letters, in another case, as the absolute path of a copy elsewhere that now lies in ``root``, or as the
    path below the one folder that has it.

    Args:
        folder: The data folder. None if the rows come from no folder.
        root: Another folder that paths may start from and lead to.
        follow_links: Links may lead to any place.

    Attributes:
        areas: Folders, with no links in their paths, that files are read in.
        unused: Files of the data folder that no path has led to yet, for those who fill it.
        notes: How paths were read that are not what they say, each sentence once.

    Raises:
        DataError: ``root`` is no folder.
    """

    def __init__(self, folder: Path | None = None, root: str | Path | None = None, follow_links: bool = False) -> None:
        if root is not None and not Path(root).expanduser().is_dir():
            raise DataError(f"root: '{root}' is no folder")
        self.folder = None if folder is None else _real(folder)
        self.root = None if root is None else _real(Path(root).expanduser())
        self.follow_links = follow_links
        self.areas = [area for area in (self.root, self.folder) if area is not None]
        self.unused: set[str] = set()
        self.notes: dict[str, None] = {}
        self._inside: dict[str, bool] = {}  # by folder
        self._names: dict[str, dict[str, list[str]]] = {}  # by folder: names by what they have in common
        self._starts_of: dict[str, list[str]] = {}  # by folder of the table
        self._copied_from = ""

    def find(self, text: str, table: str = "") -> Path:
        """The file that a path means.

        Args:
            text: The path.
            table: The file that names it, as a path from the data folder.

        Raises:
            DataError: It means no file, more than one, or one that may not be read.
        """
        if not self.areas:
            raise DataError(f"the rows have no folder that the path '{text}' could start from; give root='...'")
        if "\0" in text:
            raise DataError("the path holds a zero byte")
        starts = self._starts(table)
        try:
            path = next((path for start in starts if self._may_be(path := os.path.join(start, text))), None)
            path = path or self._as_others_write_it(starts, text)
        except DataError:
            raise
        except (OSError, ValueError) as error:
            raise DataError(f"the path cannot be used: {getattr(error, 'strerror', None) or error}") from error
        if path is None:
            raise DataError(self._refusal(starts, text))
        if self.unused:
            self.unused.discard(os.path.normpath(path))
        return Path(path)

    def allows(self, path: str) -> bool:
        """Whether a file or folder that is there may be read, wherever links in its path lead."""
        return self.follow_links or self._contains(os.path.realpath(path))

    def _starts(self, table: str) -> list[str]:
        """Folders that paths start from; the data folder comes last, and twice if the table lies directly in it."""
        parent = os.path.dirname(table)
        if parent not in self._starts_of:
            starts = self._starts_of[parent] = [str(area) for area in self.areas]
            if self.folder is not None:
                starts.insert(-1, os.path.normpath(os.path.join(self.folder, parent)))
        return self._starts_of[parent]

    def _may_be(self, path: str) -> bool:
        """Whether this is a regular file that may be read."""
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        if stat.S_ISLNK(mode):
            return os.path.isfile(path) and self.allows(path)
        return stat.S_ISREG(mode) and self._folder_is_inside(os.path.dirname(path))

    def _folder_is_inside(self, folder: str) -> bool:
        if folder not in self._inside:
            self._inside[folder] = self.allows(folder)
        return self._inside[folder]

    def _contains(self, real: str) -> bool:
        path = Path(real)
        return any(path.is_relative_to(area) for area in [*self.areas, *_blobs(self.folder)])

    def _as_others_write_it(self, starts: list[str], text: str) -> str | None:
        relative = text.replace("\\", "/")
        if _ABSOLUTE.match(text):
            return self._copied(relative) if self.root is not None else None
        parts = [part for part in relative.split("/") if part not in ("", ".")]
        if ".." in parts or not parts:
            return None
        for start in starts:
            if (path := self._similar(start, parts)) is not None:
                return path
        for start in starts[:-1] or starts:  # not below the data folder, where the table may be in another part of it
            below = [self._similar(os.path.join(start, folder), parts) for folder in self._folders(start)]
            if found := [path for path in below if path is not None]:
                if len(found) > 1:
                    raise DataError(f"the path '{text}' is in several folders, such as '{found[0]}' and '{found[1]}'")
                folder = os.path.relpath(found[0], start).split("/")[0]
                self.notes[f"paths that lead to no file are looked for in the folder '{folder}' as well"] = None
                return found[0]
        return None

    def _similar(self, start: str, parts: list[str]) -> str | None:
        """The file below a folder whose path differs by case and forms of letters alone, if there is just one."""
        path = start
        for part in parts:
            if os.path.lexists(os.path.join(path, part)):
                path = os.path.join(path, part)
                continue
            names = self._listed(path).get(_form(part), [])
            if len(names) != 1:
                return None
            path = os.path.join(path, names[0])
        return path if self._may_be(path) else None

    def _listed(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._names:
            names: dict[str, list[str]] = {}
            if os.path.isdir(folder) and self._folder_is_inside(folder):
                for name in os.listdir(folder):
                    names.setdefault(_form(name), []).append(name)
            self._names[folder] = names
        return self._names[folder]

    def _folders(self, start: str) -> list[str]:
        """Names of the folders in a folder; none if there are many, of which each would have to be looked into."""
        if (key := f"{start}/") not in self._names:
            every = sorted(name for names in self._listed(start).values() for name in names)
            found = [name for name in every if name[0] != "." and os.path.isdir(os.path.join(start, name))]
            self._names[key] = {"": found if len(found) <= _MOST_FOLDERS else []}
        return self._names[key][""]

    def _copied(self, text: str) -> str | None:
        """The file in ``root`` whose copy elsewhere an absolute path names; all have been copied from one folder."""
        if self._copied_from:
            prefixes = [self._copied_from] if text.startswith(self._copied_from) else []
        else:
            prefixes = [text[: place.end()] for place in islice(re.finditer("/", text), _MOST_FOLDERS)]
        for prefix in prefixes:
            parts = [part for part in text[len(prefix) :].split("/") if part]
            if parts and ".." not in parts and (path := self._similar(str(self.root), parts)) is not None:
                self._copied_from = prefix
                self.notes[f"paths below '{prefix}' are read below '{self.root}'"] = None
                return path
        return None

    def _refusal(self, starts: list[str], text: str) -> str:
        paths = [os.path.join(start, text) for start in starts]
        if _ABSOLUTE.match(text) or not any(self._contains(os.path.abspath(path)) for path in paths):
            where = os.path.dirname(os.path.abspath(paths[-1]))
            where = where if os.path.isdir(where) and not self._contains(where) else "FOLDER"
            return f"the path '{text}' leaves the data folder; root='{where}' names another folder that has the files"
        if any(self._contains(os.path.realpath(path)) for path in paths):
            return f"the path '{text}' is no file in the data folder"
        return f"the path '{text}' leaves the data folder by a link; follow_links=True follows it"


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _blobs(folder: Path | None) -> Iterator[Path]:
    """Where the files of a snapshot in the hub's cache lie; the snapshot itself is made of links."""
    for parent in folder.parents if folder is not None else ():
        if parent.name.startswith("datasets--") and (parent / "blobs").is_dir():
            yield parent / "blobs"


def _form(name: str) -> str:
    """What names have in common that differ by case or by composed and decomposed letters."""
    return normalize("NFC", name).casefold()
