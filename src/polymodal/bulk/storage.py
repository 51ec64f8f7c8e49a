"""Storage: folders and files, local or on any file system of fsspec, by their URLs."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from polymodal.errors import ConfigError
from polymodal.files import atomic_file, remove_partials, write_file


def file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL or a local path, and the path in it.

    Raises:
        ConfigError: There is no such file system, or the package that reads it is not installed.
    """
    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{url}: {error}; a local path is right, or the URL of a file system of fsspec") from error


class Storage:
    """A folder in which files are there whole or not at all.

    Object stores show an object once all of it has arrived; on local disks ``polymodal.files`` sees to it.

    Args:
        url: URL of the folder, or its local path.

    Raises:
        ConfigError: There is no such file system, or the package that reads it is not installed.
    """

    def __init__(self, url: str):
        self.url = url
        self._files, self._root = file_system(url)
        self.local = Path(self._root) if isinstance(self._files, LocalFileSystem) else None

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None if it is not there."""
        try:
            return self._files.cat_file(self._path(name))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def size(self, name: str) -> int | None:
        """The bytes that a file has; None if it is not there."""
        try:
            return self._files.info(self._path(name))["size"]
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: str = "") -> set[str]:
        """Names of what is in the folder, or in one inside it; none if it is not there."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._path(folder).rstrip("/"), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return set()
        return {path.rstrip("/").rsplit("/", 1)[-1] for path in found}

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, in place of an older one."""
        if self.local is not None:
            write_file(self.local / name, content)
        else:
            self._files.pipe_file(self._path(name), content)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local file to write to, which becomes ``name`` at the end; nothing if it fails before."""
        if self.local is not None:
            with atomic_file(self.local / name) as partial:
                yield partial
            return
        with tempfile.TemporaryDirectory(prefix="polymodal-") as folder:
            partial = Path(folder) / "part"
            yield partial
            self._files.put_file(str(partial), self._path(name))

    def create(self, name: str, content: bytes) -> bool:
        """Writes a file unless there is one; whether there was none.

        Where the file system cannot promise that, two that call this at the same moment may both be told so.
        """
        path = self._path(name)
        try:
            self._files.makedirs(self._files._parent(path), exist_ok=True)
            with self._files.open(path, "xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        except (ValueError, NotImplementedError):
            if self._files.exists(path):
                return False
            self._files.pipe_file(path, content)
        return True

    def remove(self, *names: str) -> None:
        """Removes files, if they are there."""
        for name in names:
            with suppress(FileNotFoundError):
                self._files.rm_file(self._path(name))

    def remove_torn(self, *folders: str) -> None:
        """Removes what killed processes of this machine left half written."""
        if self.local is not None:
            for folder in folders:
                remove_partials(self.local / folder)
