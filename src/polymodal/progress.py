"""How far something long is: a bar in a terminal or a notebook, else a line now and then; and who sees what is logged.

Everything that the package has to say goes to the logger ``polymodal``, which by itself says nothing.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

LINE_SECONDS = 30.0
"""Between two lines where there is no bar."""
_PAGE_SECONDS = 0.25
"""Between two changes of a bar in a notebook."""
_log = logging.getLogger("polymodal")


class Progress:
    """How far one thing is, for as long as it is entered.

    A terminal and a notebook get a bar. Elsewhere the logger gets a line every ``LINE_SECONDS``, even while nothing
    moves on.

    Args:
        name: What is done, in a word or two.
        shown: False shows and logs nothing.
    """

    def __init__(self, name: str, *, shown: bool = True):
        self.name, self.shown, self.console = name, shown, Console(stderr=True)
        self.share, self.text, self._begun = 0.0, "", time.monotonic()
        self._said: str | None = None
        self._over = threading.Event()
        self._lines = threading.Thread(target=self._repeat, daemon=True)
        self._bar: Bar | None = None
        self._page: Any = None
        self._page_time = 0.0

    def __enter__(self) -> Progress:
        if self.shown and self.console.is_jupyter:
            from IPython.display import HTML, display

            self._page = display(HTML(self._html()), display_id=True)
        elif self.shown and self.console.is_terminal:
            # Where a line is narrow, the text is cut, and not what stands before it.
            text = TextColumn(
                "{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"), markup=False
            )
            name, share = TextColumn("{task.description}", markup=False), TextColumn("{task.percentage:3.0f}%")
            self._bar = Bar(name, BarColumn(20), share, text, console=self.console, expand=True)
            self._line = self._bar.add_task(self.name, total=1.0, text="")
            self._bar.start()
        elif self.shown:
            self._lines.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._bar is not None:
            self._bar.stop()
        elif self._page is not None:
            self._show_page(always=True)
        elif self.shown:
            self._lines.join()
            if self.text and self._said != self._sentence():
                self._say()

    def at(self, share: float, text: str = "", *, left: float | None = None) -> None:
        """Says how far it is.

        Args:
            share: Of all, from 0 to 1.
            text: More about it.
            left: Seconds; reckoned by the share if not given.
        """
        if left is None and share > 0:
            left = (time.monotonic() - self._begun) * (1 / share - 1)
        remaining = "" if left is None else f"{int(left) // 60}:{int(left) % 60:02d} left"
        self.share, self.text = min(1.0, share), "  ".join(part for part in (remaining, text) if part)
        if self._bar is not None:
            self._bar.update(self._line, completed=self.share, text=self.text)
        elif self._page is not None:
            self._show_page()

    def _sentence(self) -> str:
        return f"{self.name} {self.share:4.0%}  {self.text}".rstrip()

    def _say(self) -> None:
        self._said = self._sentence()
        _log.info("%s", self._said)

    def _repeat(self) -> None:
        while not self._over.wait(LINE_SECONDS):
            if self._said == self._sentence():
                _log.info("%s  (%.0f s in all)", self._said, time.monotonic() - self._begun)
            else:
                self._say()

    def _show_page(self, *, always: bool = False) -> None:
        from IPython.display import HTML

        now = time.monotonic()
        if always or now - self._page_time >= _PAGE_SECONDS:
            self._page_time = now
            self._page.update(HTML(self._html()))

    def _html(self) -> str:
        return (
            f'<span>{escape(self.name)} <progress value="{self.share:.4f}" max="1"></progress> {self.share:.0%} '
            f"{escape(self.text)}</span>"
        )


@contextmanager
def messages_shown(shown: bool = True, *, always: bool = False) -> Iterator[None]:
    """Within, what is logged is printed as well, unless the program has set up its own logging.

    Args:
        shown: False changes nothing.
        always: Print also where the root logger has handlers, as the program is our own.
    """
    loggers = (_log,) if always else (_log, _log.root)
    active = [handler for logger in loggers for handler in logger.handlers]
    if not shown or any(not isinstance(handler, logging.NullHandler) for handler in active):
        yield
        return
    messages, warnings = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    messages.addFilter(lambda record: record.levelno < logging.WARNING)
    warnings.setLevel(logging.WARNING)
    warnings.setFormatter(logging.Formatter("polymodal: warning: %(message)s"))
    level = _log.level
    _log.setLevel(min(level or logging.INFO, logging.INFO))
    for handler in (messages, warnings):
        _log.addHandler(handler)
    try:
        yield
    finally:
        for handler in (messages, warnings):
            _log.removeHandler(handler)
        _log.setLevel(level)
