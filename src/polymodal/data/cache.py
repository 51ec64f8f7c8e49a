"""The cache: every distinct cell is decoded once, into memory-mapped arrays that later runs only index.

A column's folder is named by its content: the cells' bytes, the field's settings and the format of the cache. It is
filled under another name and renamed when complete, so that a build that was killed leaves nothing that is ever read.
A lock per column lets one process build while others wait.

Cells are decoded by threads, not processes: Pillow, soxr and libsndfile leave the interpreter's lock while they work,
a process would take seconds to import torch, and a script without a main guard could not start one.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from rich.console import Console
from rich.progress import track

from polymodal.data.columns import Column, ColumnWriter
from polymodal.errors import DataError
from polymodal.files import atomic_folder, digest, remove_partials
from polymodal.modalities import Modality, kind_of

FORMAT = 1
"""Of the cached arrays. Raise it when any modality's ``read`` changes what it stores."""

_CELLS_PER_TASK = 64


def cache_folder(given: str | Path | None = None) -> Path:
    """The argument, else ``$POLYMODAL_CACHE``, else ``~/.cache/polymodal``."""
    return Path(given or os.environ.get("POLYMODAL_CACHE") or "~/.cache/polymodal").expanduser()


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
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                remove_partials(folder.parent)
                _build(folder, modality, _with_progress(raws(), len(names)))
    return _open(folder, len(names), key, modality.space.varies)


def _open(folder: Path, count: int, key: str, varies: int | None) -> tuple[Column, dict[int, str]]:
    failures = {int(i): reason for i, reason in json.loads((folder / "failures.json").read_text()).items()}
    good = np.ones(count, dtype=bool)
    good[list(failures)] = False
    return Column.open(folder, np.where(good, np.cumsum(good) - 1, -1), key, varies), failures


def _build(folder: Path, modality: Modality, raws: Iterable[Any]) -> None:
    variable, failures = modality.space.variable, {}
    with atomic_folder(folder) as partial, ColumnWriter(partial) as writer:
        writer.write(np.empty((0, *modality.space.rest), modality.dtype), [] if variable else None)
        for index, stored in enumerate(_read_all(modality, raws)):
            if isinstance(stored, str):
                failures[index] = stored
            elif variable:
                writer.write(stored, [len(stored)])
            else:
                writer.write(stored[None])
        (partial / "failures.json").write_text(json.dumps(failures))


def _with_progress(raws: Iterable[Any], count: int) -> Iterable[Any]:
    """Show on a terminal how far a long build has come."""
    console = Console(stderr=True)
    return track(raws, "Decoding", total=count, console=console, transient=True, disable=not console.is_terminal)


def _read_all(modality: Modality, raws: Iterable[Any]) -> Iterator[np.ndarray | str]:
    """Stored values in order, or the reason why there is none; a bounded number of cells is in memory at a time."""

    def read(chunk: list[Any]) -> list[np.ndarray | str]:
        return [_read(modality, raw) for raw in chunk]

    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    raws = iter(raws)
    waiting: deque[Future[list[np.ndarray | str]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        while True:
            while len(waiting) < 2 * workers and (chunk := list(islice(raws, _CELLS_PER_TASK))):
                waiting.append(pool.submit(read, chunk))
            if not waiting:
                return
            yield from waiting.popleft().result()


def _read(modality: Modality, raw: Any) -> np.ndarray | str:
    try:
        return modality.read(raw)
    except DataError as error:
        return str(error)
