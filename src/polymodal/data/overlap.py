"""Overlap: which values of some rows other rows have as well, such as held-out rows and those that train."""

from collections.abc import Iterator

import numpy as np

from polymodal.data.columns import Column
from polymodal.data.rows import Rows
from polymodal.files import digest

_LONG = 32
"""Positions, in the median, from which on values that vary in length tell which row it is."""


def overlap(rows: Rows, training: Rows) -> dict[str, float]:
    """The share of the rows with a field whose value is that of a training row, by field; fields of both alone."""
    found = {}
    for name in rows.fields:
        if name in rows.columns and name in training.columns and rows.present[name].any():
            shared = _shared(rows.columns[name], training.columns[name])
            found[name] = float(shared[rows.present[name]].mean())
    return found


def overlap_notes(rows: Rows, training: Rows) -> list[str]:
    """A sentence on each field of pictures, sounds, other files and long texts of which values are shared."""
    return [
        f"{name}: {share:.0%} of the rows that are scored have a value that training rows have as well."
        for name, share in overlap(rows, training).items()
        if share > 0 and _tells(rows, name)
    ]


def _tells(rows: Rows, name: str) -> bool:
    lengths = rows.columns[name].lengths[rows.present[name]]
    varies = rows.columns[name].offsets is not None
    return not rows.fields[name].inline or (varies and float(np.median(lengths)) >= _LONG)


def _shared(column: Column, other: Column) -> np.ndarray:
    """(N,) whether each row's value is among those of another column."""
    if column.key and column.key == other.key:
        return column.present & np.isin(column.slots, other.slots)
    known = {name for _, name in _names(other)}
    slots = [slot for slot, name in _names(column) if name in known]
    return column.present & np.isin(column.slots, slots)


def _names(column: Column) -> Iterator[tuple[int, bytes]]:
    """The slot of each distinct value that a row has, and the name of the stored value."""
    for slot in np.unique(column.slots[column.present]).tolist():
        if column.offsets is None:
            value = column.values[slot]
        else:
            value = column.values[column.offsets[slot] : column.offsets[slot + 1]]
        yield slot, digest(np.ascontiguousarray(value).tobytes())
