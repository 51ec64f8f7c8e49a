"""Media: files that hold a value of a field whole, such as pictures and sound, known by their endings."""

from pathlib import PurePosixPath

from polymodal.data.sources import tables
from polymodal.modalities import MODALITIES

_ANYTHING = frozenset((*tables.ENDINGS, ".npy"))
"""Endings that do not say what a file is: it is a value only where a cell names it."""


def media() -> dict[str, frozenset[str]]:
    """By name of each modality whose values are files: the endings of these, lower case, without the dot."""
    return {
        name: frozenset(suffix[1:] for suffix in kind.suffixes if suffix not in _ANYTHING)
        for name, kind in MODALITIES.items()
        if not kind.inline
    }


def medium_of(name: str) -> str | None:
    """The modality of the value that a file holds whole, by its ending; None if it holds none."""
    ending = PurePosixPath(name).suffix[1:].lower()
    return next((medium for medium, endings in media().items() if ending in endings), None)
