"""Which rows train, which validate, which test."""

from collections.abc import Iterable
from hashlib import blake2b

from polymodal.errors import DataError, unknown

SPLITS = ("train", "validation", "test")
_ALIASES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}


def check_fractions(validation: float, test: float) -> None:
    """Refuse fractions that leave no row to train on.

    Raises:
        DataError: A fraction is negative, or both leave nothing.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise DataError(f"validation {validation} and test {test} must be fractions that leave some rows to train on")


def split_by_hash(key: bytes, validation: float, test: float) -> str:
    """A row's split by its key alone, so that it stays where it is when rows are added."""
    place = int.from_bytes(blake2b(key, digest_size=8, person=b"split").digest(), "big") / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def split_name(cell: object) -> str:
    """The split that a cell names.

    Raises:
        DataError: It names none.
    """
    name = str(cell).strip().lower() if cell is not None else ""
    name = _ALIASES.get(name, name)
    if name not in SPLITS:
        raise DataError(unknown("split", str(cell), SPLITS))
    return name


def is_split_column(cells: Iterable[object]) -> bool:
    """Whether a column named ``split`` holds splits, not something else of that name."""
    known = {*SPLITS, *_ALIASES}
    named = [cell for cell in cells if cell is not None]
    return bool(named) and all(isinstance(cell, str) and cell.strip().lower() in known for cell in named)
