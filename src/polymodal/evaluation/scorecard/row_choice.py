"""Which rows of a direction are scored, and which of them depend on each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.data import Rows, connected
from polymodal.evaluation.examiner import Examiner

CLASSES = 20
"""A field with at most so many distinct values tells classes, of which the rows hold all that there are: rows of one
class are not more alike than their class is. Other values, such as names, are some of many, and so are their rows."""


def choose_rows(rows: Rows, needed: Sequence[str], most: int, seed: int) -> np.ndarray:
    """Row numbers, in order: at most ``most`` rows that have every needed field, no two of them with all the same."""
    order = np.random.default_rng(seed).permutation(len(rows))
    complete = np.logical_and.reduce([rows.present[name] for name in needed])
    order = order[complete[order]]
    slots = np.stack([rows.columns[name].slots[order] for name in needed], axis=1)
    _, first = np.unique(slots, axis=0, return_index=True)
    return np.sort(order[np.sort(first)[:most]])


def clusters_of(examiner: Examiner, index: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """(n,) a number for each chosen row, equal where rows share an input, an output or a concept, at any remove.

    Args:
        examiner: Knows all rows that are evaluated, and which field names concepts.
        index: (n,) numbers of the chosen rows.
        names: Fields of the direction.
    """
    shared, count = [], 0
    for name in dict.fromkeys([*names, *([examiner.naming] if examiner.naming else [])]):
        slots = examiner.rows.columns[name].slots
        if not examiner.kinds[name].classes and len(np.unique(slots[slots >= 0])) > CLASSES:
            shared.append(np.where(slots[index] < 0, -1, count + slots[index]))
            count += int(slots.max()) + 1
    return connected(shared, len(index))
