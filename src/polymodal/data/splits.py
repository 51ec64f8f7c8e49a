"""Which rows train, which validate, which test."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import PurePosixPath

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
    place = _place(key)
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def _place(key: bytes) -> float:
    """A number of a key's own, from 0 to 1."""
    return int.from_bytes(blake2b(key, digest_size=8, person=b"split").digest(), "big") / 2**64


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


def connected(columns: Iterable[np.ndarray], rows: int) -> np.ndarray:
    """(N,) a number from 0 for each row, equal where rows share a value, at any remove.

    Args:
        columns: (N,) numbers of the rows' values; below 0 where a row has none. The same number in another column is
            the same value.
        rows: N.
    """
    ends = [np.empty((2, 0), dtype=np.int64)]
    for values in columns:
        has = np.flatnonzero(values >= 0)
        ends.append(np.stack([has, values[has]]))
    near, far = np.concatenate(ends, axis=1)
    return joined(near, far, rows)


def joined(rows: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """(N,) a number from 0 for each row, equal where rows share a value, at any remove.

    Args:
        rows: (E,) row ...
        values: (E,) ... and number from 0 of a value that it has.
        count: N.
    """
    nodes = count + int(values.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, count + values)), shape=(nodes, nodes))
    return np.unique(connected_components(graph, directed=False)[1][:count], return_inverse=True)[1]


def group_keys(keys: Sequence[bytes], contents: Sequence[Sequence[bytes]]) -> list[bytes | None]:
    """Keys of rows, one for all rows which share a content, at any remove.

    It is the least name of a content of the group, so that it mostly stays when rows are added. A group of more than
    half of all rows has None: it is trained on, as anything else would leave too little.

    Args:
        keys: Keys of the rows, which those keep that have no content to share.
        contents: Names of the contents of each row that it may share.
    """
    if not any(contents):
        return [*keys]
    names = sorted({name for its in contents for name in its})
    number = {name: place for place, name in enumerate(names)}
    columns = np.full((max(map(len, contents), default=0), len(keys)), -1)
    for row, its in enumerate(contents):
        columns[: len(its), row] = [number[name] for name in its]
    # All columns name the same contents, so that they share numbers: rows meet in any of them.
    groups = connected(columns, len(keys))
    least = np.full(int(groups.max(initial=-1)) + 1, len(names))
    np.minimum.at(least, groups, np.where(columns < 0, len(names), columns).min(0, initial=len(names)))
    large = 2 * np.bincount(groups, minlength=len(least)) > max(len(keys), 2)
    return [
        None if large[group] and its else names[least[group]] if its else key
        for key, its, group in zip(keys, contents, groups.tolist(), strict=True)
    ]


def assign_splits(
    keys: Sequence[bytes | None], names: Sequence[str | None], validation: float, test: float, *, fill: bool = True
) -> list[str]:
    """The split of every row: the one that is named for it, else by its key.

    Where no name is ``validation``, the rows to validate with are taken by key from those to train on. Where few keys
    are shared by many rows, some split might have none of them by chance: then each takes keys of about so many rows as
    it should have, and of one at least, as long as half of the rows are left to train on.

    Args:
        keys: Keys of the rows; None for a row to train on.
        names: Splits, None where a row's is not named.
        validation: Fraction of rows to validate with, where the key decides.
        test: Fraction of rows to test with, where the key decides.
        fill: Whether no split is left without rows.
    """
    validation = 0 if "validation" in names else validation
    test = 0 if "test" in names else test
    splits = []
    for key, name in zip(keys, names, strict=True):
        if name is None or name == "train":
            name = "train" if key is None else split_by_hash(key, validation, test if name is None else 0)
        splits.append(name)
    asked = [
        (split, takes, fraction * sum(name in takes for name in names))
        for split, takes, fraction in (("test", (None,), test), ("validation", (None, "train"), validation))
    ]
    if not fill or all(split in splits for split in ("train", *(split for split, _, wanted in asked if wanted >= 1))):
        return splits
    splits = [name or "train" for name in names]
    for split, takes, wanted in asked:
        free = [
            key if name in takes and its == "train" else None
            for key, name, its in zip(keys, names, splits, strict=True)
        ]
        spare = 2 if split == "test" and validation else 1  # keys that the others have to have
        taken = _keys_for(wanted, Counter(filter(None, free)), splits.count("train"), spare)
        splits = [split if key in taken else its for key, its in zip(free, splits, strict=True)]
    return splits


def _keys_for(wanted: float, counts: Mapping[bytes, int], training: int, spare: int) -> set[bytes]:
    """Keys of about so many rows, the nearest in number first, which leave half of the training rows at least."""
    taken: set[bytes] = set()
    rows, left = wanted, dict(counts)
    while rows >= 1 and (near := {key: count for key, count in left.items() if 2 * count <= training}):
        key = min(near, key=lambda key: (abs(math.log(near[key] / rows)), _place(key)))
        if taken and (near[key] > 1.5 * rows or len(left) <= spare):
            break
        taken.add(key)
        rows, training = rows - left[key], training - left.pop(key)
    return taken
