"""Shards: files of rows that are fetched when their rows are wanted, decoded, kept for a while, and dropped."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from polymodal.data.cache import cache_folder
from polymodal.data.columns import Column
from polymodal.data.rows import Derive, Rows
from polymodal.data.sources import Block, Rejection, Source, open_source
from polymodal.data.sources.shards import expand
from polymodal.errors import DataError
from polymodal.files import atomic_file, check_seal, short_digest
from polymodal.modalities import Modality

FETCHERS = 4
"""Shards that are fetched at a time, as a server far away takes as long for one as for several."""
_WAITS = (1.0, 4.0, 16.0)
"""Seconds between tries to fetch a shard that is there, from a server that does not answer."""
_ENDINGS = (".tar", ".tar.gz", ".tgz", ".parquet")
_ROWS = "rows.npy"


@dataclass(frozen=True)
class Shard:
    """A file of rows.

    Attributes:
        name: Path or address.
        stamp: Changes when the file does.
    """

    name: str
    stamp: str

    @contextmanager
    def fetched(self, scratch: Path) -> Iterator[Path]:
        """A path of the file on this machine: its own, else that of a copy, which is removed at the end.

        Raises:
            DataError: It cannot be fetched.
        """
        if "://" not in self.name:
            yield Path(self.name)
            return
        import fsspec

        scratch.mkdir(parents=True, exist_ok=True)
        copy = scratch / f"{os.getpid()}-{threading.get_ident()}-{self.name.rpartition('/')[2]}"
        try:
            system, place = fsspec.core.url_to_fs(self.name)
            for wait in (*_WAITS, None):
                try:
                    system.get_file(place, str(copy))
                    break
                except (OSError, TimeoutError):
                    if wait is None or not system.exists(place):
                        raise
                    time.sleep(wait)
        except (OSError, ValueError, ImportError) as error:
            copy.unlink(missing_ok=True)
            raise DataError(f"{self.name}: cannot be fetched: {error}") from error
        try:
            yield copy
        finally:
            copy.unlink(missing_ok=True)


def find_shards(source: Any) -> list[Shard]:
    """The shards that a user named: a pattern such as ``s3://bucket/rows-{000..999}.tar`` or ``folder/*.parquet``.

    Raises:
        DataError: There are none, or one is no tar or Parquet file.
    """
    import fsspec

    names = [source] if isinstance(source, str | Path) else list(source)
    found: list[Shard] = []
    for name in (one for given in names for one in expand(os.path.expanduser(str(given)))):
        try:
            system, place = fsspec.core.url_to_fs(name)
            if "*" in place:
                places = sorted(system.glob(place))
            elif system.isdir(place):
                places = [file for file in sorted(system.find(place)) if file.lower().endswith(_ENDINGS)]
            else:
                places = [place]
            for one in places:
                full = one if "://" not in name else system.unstrip_protocol(one)
                found.append(Shard(full, short_digest(f"{system.ukey(one)}")))
        except (OSError, ValueError, ImportError) as error:
            raise DataError(f"{name}: cannot be looked at: {error}") from error
    for shard in found:
        if not shard.name.lower().endswith(_ENDINGS):
            raise DataError(f"{shard.name}: is no shard; files that end in {', '.join(_ENDINGS)} are")
    if not found:
        raise DataError(f"{source}: there are no shards; rows-{{000..099}}.tar and folder/*.parquet are examples")
    return found


class ShardSource(Source):
    """The rows of shards one after another; each is fetched when its turn comes.

    Args:
        shards: In order.
        scratch: Folder for what is fetched.
        opener: Options of ``open_source``.
    """

    def __init__(self, shards: Sequence[Shard], scratch: Path, opener: Mapping[str, Any]) -> None:
        super().__init__(f"{shards[0].name} and {len(shards) - 1:,} more" if len(shards) > 1 else shards[0].name)
        self.shards, self.scratch, self.opener = list(shards), scratch, dict(opener)

    @contextmanager
    def opened(self, shard: Shard) -> Iterator[Source]:
        """One shard as a source of its own."""
        with shard.fetched(self.scratch) as path:
            yield open_source(str(path), self.scratch, **self.opener)

    def blocks(self, columns: Collection[str]) -> Iterator[Block | Rejection]:
        for shard in self.shards:
            with self.opened(shard) as source:
                yield from source.blocks(columns)

    def columns(self) -> list[str]:
        """Those of the first shard: the others are taken to have no more."""
        with self.opened(self.shards[0]) as source:
            return source.columns()


def first_shard(source: Any) -> Source:
    """The rows of the first shard that a user named, to see what fields there are.

    Raises:
        DataError: There is none.
    """
    return ShardSource(find_shards(source)[:1], cache_folder() / "shards" / "fetched", {})


@dataclass(frozen=True)
class Decoded:
    """What is kept of a shard while it is in the cache.

    Attributes:
        rows: Its rows, of all splits.
        folder: Where their values lie.
        bytes: On the disk.
    """

    rows: Rows
    folder: Path
    bytes: int


class ShardCache:
    """Decoded shards on this machine's disk, as many as fit; the one that was used longest ago makes room.

    Processes of one machine share it: one decodes a shard while the others wait for it.

    Args:
        folder: For the decoded shards.
        keys: Name of each shard's content and of how it is read.
        decode: (number of a shard, folder) -> its rows, with columns whose values lie in the folder.
        reopen: (number of a shard, folder, (F, N) slots of its rows) -> the same rows from what lies there.
        most_bytes: Of all decoded shards together.
    """

    def __init__(
        self,
        folder: Path,
        keys: Sequence[str],
        decode: Callable[[int, Path], Rows],
        reopen: Callable[[int, Path, np.ndarray], Rows],
        most_bytes: float,
    ) -> None:
        self.folder, self.keys, self.most_bytes = folder, list(keys), most_bytes
        self._decode, self._reopen = decode, reopen
        self._derived: dict[str, Derive] = {}
        self._ready: OrderedDict[int, Decoded] = OrderedDict()
        self._pending: dict[int, Future[Decoded]] = {}
        self._asked: set[int] = set()  # since shards were last fetched ahead
        self._in_use: set[int] = set()  # before that
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(FETCHERS, thread_name_prefix="shards")
        self._strangers = self._left_over()

    def with_derived(self, name: str, derive: Derive) -> None:
        """Every shard gets one more column, made of its own."""
        with self._lock:
            pending = list(self._pending.values())
        for future in pending:
            future.exception()
        with self._lock:
            self._derived[name] = derive
            self._ready.clear()
            self._pending.clear()
            self._strangers = self._left_over()

    def rows(self, shard: int) -> Rows:
        """The rows of a shard, once they are there."""
        with self._lock:
            self._asked.add(shard)
            if shard in self._ready:
                self._ready.move_to_end(shard)
                return self._ready[shard].rows
            future = self._submit(shard)
        try:
            decoded = future.result()
        finally:
            self._done(shard, future)
        return decoded.rows

    def expect(self, shards: Sequence[int], sizes: np.ndarray) -> None:
        """Fetches shards ahead, as far as there is room beside those that are in use.

        Args:
            shards: Numbers, those wanted first before the others.
            sizes: (S,) bytes of each shard.
        """
        with self._lock:
            if self._asked:
                self._in_use, self._asked = self._asked, set()
            room = self.most_bytes - sum(
                sizes[s] for s in self._in_use | {*self._pending} | ({*self._ready} & {*shards})
            )
            for shard in shards:
                if shard in self._ready or shard in self._pending:
                    continue
                room -= sizes[shard]
                if room < 0:
                    return
                self._submit(shard).add_done_callback(partial(self._done, shard))

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _done(self, shard: int, future: Future[Decoded]) -> None:
        with self._lock:
            if self._pending.get(shard) is not future:
                return
            if future.cancelled() or future.exception() is not None:
                del self._pending[shard]  # whoever needs it tries again, and hears of it
            else:
                self._keep(shard, future.result())

    def _submit(self, shard: int) -> Future[Decoded]:
        if shard not in self._pending:
            self._pending[shard] = self._pool.submit(self._load, shard)
        return self._pending[shard]

    def _keep(self, shard: int, decoded: Decoded) -> None:
        self._pending.pop(shard, None)
        self._ready[shard] = decoded
        self._ready.move_to_end(shard)
        self._strangers.pop(self.keys[shard], None)
        self._drop()

    def _drop(self) -> None:
        """Makes room: first what an earlier training left, then what was used longest ago."""
        total = sum(each.bytes for each in self._ready.values()) + sum(self._strangers.values())
        while total > self.most_bytes and self._strangers:
            key = next(iter(self._strangers))
            total -= self._strangers.pop(key)
            shutil.rmtree(self.folder / key, ignore_errors=True)
        while total > self.most_bytes and len(self._ready) > 1:
            _, oldest = self._ready.popitem(last=False)
            total -= oldest.bytes
            shutil.rmtree(oldest.folder, ignore_errors=True)  # a process that still reads it keeps what it has mapped

    def _left_over(self) -> dict[str, int]:
        """Bytes of the shards that lie there, by key, the oldest first."""
        if not self.folder.is_dir():
            return {}
        there = sorted((path for path in self.folder.iterdir() if path.is_dir()), key=lambda p: p.stat().st_mtime)
        return {path.name: bytes_of(path) for path in there}

    def _load(self, shard: int) -> Decoded:
        folder = self.folder / self.keys[shard]
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{self.keys[shard]}.lock"):
            rows = self._opened(shard, folder)
            if rows is None:
                shutil.rmtree(folder, ignore_errors=True)
                rows = self._decode(shard, folder)
                with atomic_file(folder / _ROWS) as file:  # the last one: where it is, all is
                    np.save(file, np.stack([column.slots for column in rows.columns.values()]))
            for name, derive in self._derived.items():
                rows = rows.with_column(name, derive(rows, folder / f"derived-{short_digest(name)}"))
        return Decoded(rows, folder, bytes_of(folder))

    def _opened(self, shard: int, folder: Path) -> Rows | None:
        """The rows that lie in a folder; None if they are not, or no longer, whole."""
        try:
            return self._reopen(shard, folder, np.load(folder / _ROWS))
        except (OSError, ValueError, EOFError):
            return None


def open_columns(
    folder: Path, slots: np.ndarray, keys: Sequence[str], fields: Mapping[str, Modality]
) -> dict[str, Column]:
    """The columns (F of N rows) that ``load`` left in a cache folder.

    Args:
        folder: The cache.
        slots: (F, N).
        keys: Names of the contents of the F columns.
        fields: Modalities of the F columns, by name.

    Raises:
        ValueError: They are not as they were left.
        OSError: One cannot be read.
    """
    columns = {}
    for (name, modality), key, own in zip(fields.items(), keys, slots, strict=True):
        check_seal(folder / "columns" / key)
        columns[name] = Column.open(folder / "columns" / key, own, key, modality.space.varies)
    return columns


def bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
