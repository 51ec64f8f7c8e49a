"""The mistakes a user can make. Each message says what was wrong, where, and what would be right."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tabs and line feeds, marks that turn the direction of writing, and half characters."""


def printable(text: str) -> str:
    r"""A text that may be anybody's, fit for a terminal: what would move its cursor or colour it is shown by its code.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class PolymodalError(ValueError):
    """Base of every error that a user can cause and mend. Its message quotes names and values, and is ``printable``."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


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
    return f"{what}: '{given}' is unknown;{hint} ({', '.join(names) or 'there is none'})"
