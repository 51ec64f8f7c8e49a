"""Signals that ask a process to stop: what is in work is finished and kept, then it ends with a status of its own.

A command lets ``handle_signals`` see to SIGINT (Ctrl-C), SIGTERM and SIGHUP. Work that can go on later is done inside
``finishing``, and calls ``stop_if_asked`` wherever all of it is kept; there the first signal takes effect. Everywhere
else it takes effect at once, as does a second one.
"""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SAME_SECONDS = 1.0
"""Signals that come together, as from a terminal and from the launcher of many processes, are one."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop.

    Args:
        number: The signal's number.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def status(self) -> int:
        """Exit status: 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP, as a shell has it."""
        return 128 + self.number


class _State:
    asked = 0
    """Number of the signal that has come, 0 for none."""
    at = 0.0
    """When it came."""
    sections = 0
    """Pieces of work, one inside the other, that are to be finished first."""
    handled = False
    interrupted = 0
    """Number of the signal that was raised wherever it came, 0 for none."""


@contextmanager
def handle_signals(signals: Iterable[signal.Signals] = SIGNALS, *, to_the_end: bool = False) -> Iterator[None]:
    """While it is entered, signals raise ``Stopped``. Those that the process was told to ignore (nohup) stay ignored.

    A process that does nothing else is handled ``to_the_end``: a signal that comes after its work, while the
    interpreter clears up, changes its status no more.

    Only the main thread can do so; in any other it does nothing.
    """
    if threading.current_thread() is not threading.main_thread() or _State.handled:
        yield
        return
    _State.asked, _State.interrupted, _State.handled = 0, 0, True
    before = {number: signal.getsignal(number) for number in signals}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, _receive)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if to_the_end else handler)
        _State.asked, _State.interrupted, _State.handled = 0, 0, False


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Whatever a library does about signals while it is entered is undone at the end."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS} if main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def finishing() -> Iterator[None]:
    """Work that a first signal does not interrupt, but where it calls ``stop_if_asked``, and at its end.

    Outside a command, where nobody else sees to it, so is Ctrl-C.

    Raises:
        Stopped: A signal came.
    """
    alone = not _State.handled and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with handle_signals([signal.SIGINT] if alone else []):
        stop_if_asked()
        _State.sections += 1
        try:
            yield
        finally:
            _State.sections -= 1
        if not _State.sections:
            stop_if_asked()


def asked() -> int:
    """Number of the signal that has asked this process to stop; 0 if none has."""
    return _State.asked


@contextmanager
def as_stopped() -> Iterator[None]:
    """An error after a signal took effect at once is that signal: what it interrupts can come out as anything.

    A module that is half imported, for one, is no more found where it is needed next.

    Raises:
        Stopped: A signal took effect, and another error came of it.
    """
    try:
        yield
    except Exception as error:
        if not _State.interrupted:
            raise
        raise Stopped(_State.interrupted) from error


def stop_if_asked() -> None:
    """Called where all that was done is kept.

    Raises:
        Stopped: A signal came.
    """
    if _State.asked:
        raise Stopped(_State.asked)


def _receive(number: int, frame: FrameType | None) -> None:
    again, now = bool(_State.asked), time.monotonic()
    if again and now - _State.at < _SAME_SECONDS:
        return
    _State.asked, _State.at = number, now
    if again or not _State.sections:
        _State.interrupted = number
        raise Stopped(number)
    name = signal.Signals(number).name
    os.write(2, f"polymodal: {name}: what is in work is finished and kept; once more stops at once\n".encode())
