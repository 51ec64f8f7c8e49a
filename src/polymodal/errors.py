"""The mistakes a user can make. Each message says what was wrong, where, and what would be right."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tabs and line feeds, marks that turn the direction of writing, and half characters."""
_MOST_SHOWN = 60
"""Characters of a value in a message."""
_LONG_LINE = re.compile("^(.{1000}).+(.{1000})$", re.MULTILINE)
"""A line of a message that names more than anybody reads, such as thousands of columns."""


def printable(text: str) -> str:
    r"""A text that may be anybody's, fit for a terminal: what would move its cursor or colour it is shown by its code.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def quote(value: object) -> str:
    """A value as Python writes it, or its beginning: what a user gives may be a whole file.

    >>> quote([1, 2]), quote("a" * 99)
    ('[1, 2]', "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...")
    """
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


class PolymodalError(ValueError):
    """Base of every error that a user can cause and mend.

    Its message quotes names and values of anybody's: it is ``printable``, and of a line of thousands of characters it
    keeps the beginning, which says where, and the end, which says what would be right.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_LONG_LINE.sub(r"\1 [...] \2", printable(str(message))))


class ConfigError(PolymodalError):
    """A recipe or an option is wrong."""


class DataError(PolymodalError):
    """A source, a row or a cell is wrong."""


class CheckpointError(PolymodalError):
    """A run folder or a checkpoint cannot be used."""


class TrainingError(PolymodalError):
    """Training cannot go on, since its losses or its weights are no longer finite."""


def unknown(what: str, given: str, known: Iterable[str]) -> str:
    """Message for a name that does not exist, with the nearest one that does.

    >>> unknown("head.kind", "gann", ["gan", "flow"])
    "head.kind: 'gann' is unknown; did you mean 'gan'? (flow, gan)"
    """
    names = sorted(known)
    near = get_close_matches(given, names, n=1)
    hint = f" did you mean '{near[0]}'?" if near else ""
    return f"{what}: {quote(given)} is unknown;{hint} ({', '.join(names) or 'there is none'})"
