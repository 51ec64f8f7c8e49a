"""Leases: who is at work on what, so that workers that share nothing but a folder rarely do the same twice.

What a lease protects is made the same by everybody and written whole, so that a lease saves work and nothing else:
where two take the same one in the same moment, both write the same bytes.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import gethostname
from uuid import uuid4

from polymodal.bulk.storage import Storage
from polymodal.files import is_alive

SECONDS = 60.0
"""Without a sign of life, after which a lease may be taken over."""
_BEATS = 4
"""Signs of life in that time."""


class Leases:
    """Leases in a folder, each a file that its holder rewrites as long as it lives.

    Nobody's clock is compared with another's: who waits for a lease measures, by its own clock, for how long the file
    has not changed. A process of the same machine that is no more is known at once.

    Args:
        storage: The folder.
        seconds: Without a sign of life, after which a lease is taken over.
    """

    def __init__(self, storage: Storage, seconds: float = SECONDS):
        self._storage, self._seconds = storage, seconds
        self._owner = f"{gethostname()} {os.getpid()} {uuid4().hex}"
        self._seen: dict[str, tuple[bytes | None, float]] = {}

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """Whether this process holds the lease of that name, which it then does until the end."""
        if not self._take(name):
            yield False
            return
        ended = threading.Event()
        beats = threading.Thread(target=self._beat, args=(name, ended), daemon=True)
        beats.start()
        try:
            yield True
        finally:
            ended.set()
            beats.join()
            self._storage.remove(name)

    def _take(self, name: str) -> bool:
        if self._storage.create(name, self._owner.encode()):
            return True
        there = self._storage.read(name)
        if not self._is_stale(name, there):
            return False
        self._storage.remove(name)
        return self._storage.create(name, self._owner.encode())

    def _is_stale(self, name: str, there: bytes | None) -> bool:
        host, process, *_ = [*(there or b"").decode(errors="replace").split(), "", ""]
        if host == gethostname() and process.isdigit() and not is_alive(int(process)):
            return True
        seen, since = self._seen.get(name, (None, 0.0))
        if seen != there:
            self._seen[name] = there, time.monotonic()
            return False
        return there is not None and time.monotonic() - since >= self._seconds

    def _beat(self, name: str, ended: threading.Event) -> None:
        beat = 0
        while not ended.wait(self._seconds / _BEATS):
            beat += 1
            self._storage.write(name, f"{self._owner} {beat}".encode())
