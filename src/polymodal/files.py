"""Files and folders that are there whole or not at all, and digests of contents. Nothing else writes what must last."""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import EIO
from hashlib import blake2b, file_digest
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

MOST_JSON_BYTES = 1 << 26
_MOST_NAME_CHARACTERS, _MOST_NAME_BYTES = 100, 150
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³])(\..*)?", re.IGNORECASE)
"""Names that are devices on Windows, whatever their ending."""
_PARTIAL = ".partial-"
_SEAL = "seal.json"
_compared: set[tuple[Any, ...]] = set()
"""Files, by path, size, times and digest, that this process has read and found to have the digest."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` at the end, in place of an older file; nothing if it fails before.

    Yields:
        A file of the same ending in the same folder, which is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    with naming(path):
        try:
            yield partial
            _sync(partial)
            os.replace(partial, path)
            _sync(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """What the system refuses while it is entered names ``path``, unless it names a file itself.

    It names a file that cannot be opened, but none that cannot be written, as where the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or type(error) is not OSError:  # else it has a name, or is of a connection
            raise
        if error.errno is None:  # as NumPy and Pillow have it
            error.strerror, error.errno = str(error), EIO
        error.filename = str(path)
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Writes a file that is there whole or not at all; text in UTF-8, its line breaks as they are."""
    with atomic_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes a ``.npy`` file that is there whole or not at all."""
    with atomic_file(path) as partial, partial.open("wb") as file:
        np.save(file, array)


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", about: "dict[str, str] | None" = None) -> None:
    """Writes a file of safetensors, as it comes, with what is to be said ``about`` them.

    Raises:
        OSError: It cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path, about)
    except SafetensorError as error:  # what the library makes of a full disk
        with naming(path):
            raise OSError(f"cannot be written: {error}") from None


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """An empty folder to fill, which becomes ``path`` at the end; nothing is left of it if it fails before.

    Args:
        path: Path of the folder.
        replace: Whether an older folder is replaced; else it stays, and what was filled is thrown away.

    Raises:
        OSError: It could not be put there.
    """
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with naming(path):
        try:
            yield partial
            for inner in [*partial.rglob("*"), partial]:
                _sync(inner)
            if replace and path.is_dir():
                older = partial.with_name(f"{partial.name}.older")
                os.rename(path, older)  # there is a whole folder at every moment but between these two lines
                os.rename(partial, path)
                shutil.rmtree(older, ignore_errors=True)
            else:
                try:
                    os.rename(partial, path)
                except OSError:
                    if not path.is_dir():  # else another process finished the same first
                        raise
            _sync(path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def seal(folder: Path) -> None:
    """Writes down the sizes, times and digests of the files in a folder, by which ``check_seal`` knows them again."""
    files = {path.name: {"stamp": _stamp(path), "sha256": file_sha256(path)} for path in sorted(folder.iterdir())}
    write_file(folder / _SEAL, json.dumps(files))


def check_seal(folder: Path) -> None:
    """Whether the files in a folder are as they were sealed. Those whose size and times have not changed are not read.

    Raises:
        ValueError: One is not; says which.
        OSError: One cannot be read.
    """
    try:
        sealed = json.loads((folder / _SEAL).read_bytes())
        files = {name: (list(known["stamp"]), known["sha256"]) for name, known in sealed.items()}
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{_SEAL} is broken") from error
    for name, (stamp, digest) in files.items():
        now = _stamp(folder / name)
        if now == stamp or (folder / name, *now, digest) in _compared:
            continue
        if now[:1] != stamp[:1] or file_sha256(folder / name) != digest:
            raise ValueError(f"{name} has changed")
        _compared.add((folder / name, *now, digest))


def read_json(path: Path, most_bytes: int = MOST_JSON_BYTES) -> Any:
    """What a JSON file of anybody's holds.

    Raises:
        ValueError: It is larger than ``most_bytes``, nested without end, or no JSON in UTF-8.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path.name} has more than {most_bytes:,} bytes")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None


def file_name(name: str) -> str:
    """A text, such as the name of a field, as a part of a file's name: on any system, in no other folder, not hidden.

    Other signs than letters, digits, spaces and a few more become ``_``, and what has changed ends in a digest, so
    that two texts never become one name.
    """
    plain = re.sub(r"[^\w !#$%&'()+,;=@\[\]^`{}~.-]", "_", name).strip(". ")[:_MOST_NAME_CHARACTERS]
    if plain == name and plain and not _RESERVED.fullmatch(plain) and len(plain.encode()) <= _MOST_NAME_BYTES:
        return plain
    short = plain.encode()[: _MOST_NAME_BYTES // 2].decode(errors="ignore")
    return f"{short}_{short_digest(name.encode(errors='surrogatepass'), 4)}"


def _stamp(file: Path) -> list[int]:
    """What changes when anybody writes to a file: its size, and its times of modification and of change."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def remove_partials(folder: Path) -> None:
    """Removes what killed processes of this machine left half written in a folder."""
    for left in folder.glob(f"{_PARTIAL}*"):
        process, _, host = left.name.removeprefix(_PARTIAL).partition("--")[0].partition("@")
        if host == gethostname() and process.isdigit() and not is_alive(int(process)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    """Where ``path`` is written before it is whole; its name says by whom."""
    return path.with_name(f"{_PARTIAL}{os.getpid()}@{gethostname()}--{path.name}")


def is_alive(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(*parts: bytes) -> bytes:
    """16 bytes that name a sequence of byte strings: equal where the sequences are."""
    framed = [piece for part in parts for piece in (len(part).to_bytes(8, "little"), part)]
    return blake2b(b"".join(framed), digest_size=16).digest()


def short_digest(content: str | bytes | Iterable[bytes], size: int = 8) -> str:
    """``size`` bytes, as hexadecimal digits, that name a content, given whole or in pieces."""
    state = blake2b(digest_size=size)
    if isinstance(content, str):
        content = content.encode()
    for part in [content] if isinstance(content, bytes) else content:
        state.update(part)
    return state.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
