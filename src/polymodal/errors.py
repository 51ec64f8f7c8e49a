"""The mistakes a user can make. Each message says what was wrong, where, and what would be right."""

from collections.abc import Iterable
from difflib import get_close_matches


class PolymodalError(ValueError):
    """Base of every error that a user can cause and mend."""


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
