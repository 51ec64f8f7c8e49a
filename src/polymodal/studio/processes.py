"""Commands as processes of their own, which outlive a page that is closed, and are stopped as Ctrl-C does."""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_TAIL_BYTES = 4000


class Job:
    """One command at a time, with what it says in a file.

    Args:
        log: The file.

    Attributes:
        words: Of the command that was last begun.
    """

    def __init__(self, log: Path):
        self.log, self.words = log, list[str]()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether a command is in work."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status of the last command; None if there was none, or while it is in work."""
        return None if self._process is None else self._process.poll()

    def start(self, words: Sequence[str]) -> bool:
        """Begins a command; False, and nothing is begun, while another is in work."""
        with self._lock:
            if self.running:
                return False
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("wb") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "polymodal", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a Ctrl-C meant for the studio is passed on by `close`, once
                )
            self.words = list(words)
            return True

    def stop(self) -> None:
        """Asks the command to finish what is in work, to keep it and to end; it may take a while."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Whether the command has ended within so many seconds."""
        try:
            if self._process is not None:
                self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Stops the command and waits until what was in work is kept."""
        self.stop()
        if self._process is not None:
            self._process.wait()

    def tail(self) -> str:
        """The end of what the command has said."""
        if not self.log.is_file():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
