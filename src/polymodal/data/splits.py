"""Which rows train, which validate, which test."""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import PurePosixPath

from polymodal.data.cells import is_absent
from polymodal.errors import DataError, unknown

SPLITS = ("train", "validation", "test")
_ALIASES = {
    "training": "train",
    **dict.fromkeys(("val", "valid", "dev", "eval", "evaluation"), "validation"),
    "testing": "test",
}


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
    named = [cell for cell in cells if not is_absent(cell)]
    return bool(named) and all(isinstance(cell, str) and cell.strip().lower() in known for cell in named)


def split_in_name(name: str) -> str | None:
    """The one split that a word of a name says; None if none does, or several.

    >>> [split_in_name(name) for name in ("train-00000-of-00002", "val2017", "my_testSet", "contest", "train_or_test")]
    ['train', 'validation', 'test', None, None]
    """
    words = (word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name))
    found = {_ALIASES.get(word, word) for word in words} & {*SPLITS}
    return found.pop() if len(found) == 1 else None


def split_in_path(path: str) -> str | None:
    """The split that the name of a file says, else that of the nearest folder which says one."""
    folder, file = PurePosixPath(path).parent, PurePosixPath(path).name
    return next((split for part in (file, *reversed(folder.parts)) if (split := split_in_name(part))), None)


def assign_splits(keys: Sequence[bytes], names: Sequence[str | None], validation: float, test: float) -> list[str]:
    """The split of every row: the one that is named for it, else by its key.

    Where no name is ``validation``, the rows to validate with are taken by key from those to train on.

    Args:
        keys: Keys of the rows.
        names: Splits, None where a row's is not named.
        validation: Fraction of rows to validate with, where the key decides.
        test: Fraction of rows to test with, where the key decides.
    """
    validation = 0 if "validation" in names else validation
    test = 0 if "test" in names else test
    splits = []
    for key, name in zip(keys, names, strict=True):
        if name is None or name == "train":
            name = split_by_hash(key, validation, test if name is None else 0)
        splits.append(name)
    return splits
