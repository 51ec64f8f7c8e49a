"""The cache: every distinct cell is decoded once, into memory-mapped arrays that later runs only index.

A column's folder is named by its content: the cells' bytes, the field's settings and the format of the cache. It is
filled under another name and renamed when complete, so that a build that was killed leaves nothing that is ever read.
A lock per column lets one process build while others wait. A seal holds the sizes and digests of the files; what does
not agree with it is built anew.

Nothing of ours writes to a file that may be mapped. Where somebody else cuts one short while it is, the system ends the
process with the signal SIGBUS, of which nobody is told in words: then the same command goes on from the last checkpoint
and builds the column anew.

Cells are decoded by threads, not processes: Pillow, soxr and libsndfile leave the interpreter's lock while they work,
a process would take seconds to import torch, and a script without a main guard could not start one.
"""

import atexit
import json
import logging
import math
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from rich.console import Console
from rich.progress import track

from polymodal.data.columns import Column, ColumnWriter
from polymodal.errors import DataError
from polymodal.files import atomic_folder, check_seal, digest, remove_partials, seal
from polymodal.modalities import Modality, kind_of
from polymodal.modalities.base import Stored, read_finite

FORMAT = 2
"""Of the cached arrays. Raise it when any modality's ``read`` changes what it stores."""

_CELLS_PER_TASK = 64
_CELLS_TOGETHER = 1 << 18
"""Numbers or ids of a task, of values that are read many at once."""
_MOST_TOGETHER = 1024
_FAILURES = "failures.json"
_PASSING = "passing"
"""A file that is there where a cell failed for a reason that may pass: a package that is missing may be installed."""

_log = logging.getLogger(__name__)
_built: set[Path] = set()
"""Columns that this process has built."""


def cache_folder(given: str | Path | None = None) -> Path:
    """The argument, else ``$POLYMODAL_CACHE``, else ``~/.cache/polymodal``; a temporary one if it cannot be written."""
    folder = Path(given or os.environ.get("POLYMODAL_CACHE") or "~/.cache/polymodal").expanduser()
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return folder if place.is_dir() and os.access(place, os.W_OK | os.X_OK) else _temporary(folder)


@cache
def _temporary(folder: Path) -> Path:
    made = Path(tempfile.mkdtemp(prefix="polymodal-cache-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    _log.warning("the cache folder %s cannot be written; what is decoded is kept only while this process runs", folder)
    return made


def build_column(
    cache: Path, modality: Modality, names: list[bytes], raws: Callable[[], Iterable[Any]]
) -> tuple[Column, dict[int, str]]:
    """The stored form of distinct cells, from the cache if it is there.

    Args:
        cache: Folder of the cache.
        modality: Prepared; reads the cells.
        names: Content of each cell, n of them.
        raws: Gives the n raw values, in order; called only if they are not in the cache.

    Returns:
        The column of the n cells, and why each cell that could not be read was not, by index.
    """
    settings = json.dumps([FORMAT, kind_of(modality), modality.state()], sort_keys=True)
    key = digest(settings.encode(), b"".join(names)).hex()
    folder = cache / "columns" / key
    if folder.exists() and (opened := _open(folder, len(names), key, modality, notice=False)):
        return opened
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.exists():
            if opened := _open(folder, len(names), key, modality):  # another process has just built it
                return opened
            shutil.rmtree(folder)
        remove_partials(folder.parent)
        _build(folder, modality, _with_progress(raws(), len(names)))
    opened = _open(folder, len(names), key, modality)
    if opened is None:
        raise DataError(f"{folder}: what was written to the cache cannot be read again; is the disk full or broken?")
    return opened


def _open(
    folder: Path, count: int, key: str, modality: Modality, notice: bool = True
) -> tuple[Column, dict[int, str]] | None:
    """The column in a folder; None, with a notice, if it is broken, and if this process may be able to read more."""
    try:
        check_seal(folder)
        failures = {int(i): str(why) for i, why in json.loads((folder / _FAILURES).read_bytes()).items()}
        good = np.ones(count, dtype=bool)
        good[list(failures)] = False
        space = modality.space
        column = Column.open(folder, np.where(good, np.cumsum(good) - 1, -1), key, space.varies)
        if not column.holds(int(good.sum()), modality.dtype, space.rest):
            raise ValueError("its parts do not fit together")
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, SyntaxError) as error:
        if notice:
            reason = " ".join(str(error).split())
            _log.warning("the cache's column %s is broken (%s) and is built anew", folder.name, reason)
        return None
    if (folder / _PASSING).exists() and folder not in _built:
        return None
    return column, failures


def open_column(cache: Path, key: str, modality: Modality, slots: np.ndarray) -> Column:
    """A column that ``build_column`` has built, for other rows.

    Args:
        cache: Folder of the cache.
        key: Key of the column.
        modality: Prepared as it was then.
        slots: (N,) which value each row has, -1 where it is absent.

    Raises:
        OSError, ValueError: It is not there, is broken, or lacks cells for a reason that may have passed.
    """
    folder = cache / "columns" / key
    check_seal(folder)
    column = Column.open(folder, slots, key, modality.space.varies)
    count = len(column.values) if column.offsets is None else len(column.offsets) - 1
    if (folder / _PASSING).exists() or not column.holds(count, modality.dtype, modality.space.rest):
        raise ValueError(f"column {key} does not fit")
    if int(slots.max(initial=-1)) >= count:
        raise ValueError(f"column {key} has too few values")
    return column


def _build(folder: Path, modality: Modality, raws: Iterable[Any]) -> None:
    variable, failures = modality.space.variable, {}
    with atomic_folder(folder) as partial:
        with ColumnWriter(partial) as writer:
            writer.write(np.empty((0, *modality.space.rest), modality.dtype), [] if variable else None)
            index = 0
            for stored in _read_all(modality, raws):
                if isinstance(stored, _Failure):
                    failures[index] = stored.reason
                    index += 1
                    if stored.passing:
                        (partial / _PASSING).touch()
                else:
                    writer.write(*stored)
                    index += len(stored[0] if stored[1] is None else stored[1])
        (partial / _FAILURES).write_text(json.dumps(failures), "utf-8")
        seal(partial)
    _built.add(folder)


def _with_progress(raws: Iterable[Any], count: int) -> Iterable[Any]:
    """Show on a terminal how far a long build has come."""
    console = Console(stderr=True)
    return track(raws, "Decoding", total=count, console=console, transient=True, disable=not console.is_terminal)


@dataclass(frozen=True)
class _Failure:
    """Why there is no stored value, and whether another process may be able to read it."""

    reason: str
    passing: bool = False


def _read_all(modality: Modality, raws: Iterable[Any]) -> Iterator[Stored | _Failure]:
    """Stored values in order, or the reason why there is none; a bounded number of cells is in memory at a time."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    raws, cells = iter(raws), _CELLS_PER_TASK
    if _reads_many(modality):
        cells = max(cells, min(_CELLS_TOGETHER // math.prod(modality.space.shape), _MOST_TOGETHER))
    waiting: deque[Future[list[Stored | _Failure]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        while True:
            while len(waiting) < 2 * workers and (chunk := list(islice(raws, cells))):
                waiting.append(pool.submit(_read_chunk, modality, chunk))
            if not waiting:
                return
            yield from waiting.popleft().result()


def _reads_many(modality: Modality) -> bool:
    """Whether ``read_many`` knows of ``read``, which it does not if a class below has replaced that."""
    of_class = {name: place for place, kind in reversed([*enumerate(type(modality).__mro__)]) for name in vars(kind)}
    return of_class["read_many"] <= of_class["read"]


def _read_chunk(modality: Modality, raws: list[Any]) -> list[Stored | _Failure]:
    """Those that can be read together are: one that cannot costs the few beside it their speed."""
    if _reads_many(modality) and (together := modality.read_many(raws)) is not None:
        return [together]
    if len(raws) <= _CELLS_PER_TASK:
        return [_read(modality, raw) for raw in raws]
    half = len(raws) // 2
    return _read_chunk(modality, raws[:half]) + _read_chunk(modality, raws[half:])


def _read(modality: Modality, raw: Any) -> Stored | _Failure:
    """One bad cell costs that cell, whatever error a decoder raises."""
    try:
        if isinstance(raw, DataError):
            raise raw
        stored = read_finite(modality, raw)
        return (stored, [len(stored)]) if modality.space.variable else (stored[None], None)
    except DataError as error:
        return _Failure(str(error), isinstance(error.__cause__, ImportError | MemoryError))
    except MemoryError:
        return _Failure("there is not enough memory to decode it", passing=True)
    except Exception as error:
        return _Failure(f"cannot be decoded: {type(error).__name__}: {' '.join(str(error).split())}")
