"""Columns: the stored values of one field, each distinct one kept once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polymodal.types import Field

_VALUES, _OFFSETS = "values.npy", "offsets.npy"
BF16 = np.dtype("V2")
"""Two bytes, as files of NumPy have numbers of bf16, for which it has no type."""


@dataclass(frozen=True)
class Column:
    """One field of many rows.

    Attributes:
        values: Distinct values end to end: (n, *shape), or (sum of lengths, *rest) where a length varies. Usually a
            memory map.
        offsets: (n + 1,) where each value begins in ``values``; None where no length varies.
        slots: (N,) which value each row has, -1 where it is absent.
        key: Names the values' content; equal keys mean equal values.
        varies: Where ``offsets`` are: the axis of a value in model form that varies, as of its space.
    """

    values: np.ndarray
    offsets: np.ndarray | None
    slots: np.ndarray
    key: str = ""
    varies: int | None = None

    @classmethod
    def open(cls, folder: Path, slots: np.ndarray, key: str = "", varies: int | None = None) -> "Column":
        """The values that a ``ColumnWriter`` left in a folder, memory-mapped."""
        values = np.load(folder / _VALUES, mmap_mode="r").view(np.ndarray)
        return cls(values, None if varies is None else np.load(folder / _OFFSETS, mmap_mode="r"), slots, key, varies)

    def holds(self, count: int, dtype: np.dtype, rest: tuple[int, ...]) -> bool:
        """Whether there are ``count`` values of a type, whose shape without the axis that varies is ``rest``."""
        rows = count
        if self.offsets is not None:
            if len(self.offsets) != count + 1 or self.offsets[0] or (np.diff(self.offsets) < 0).any():
                return False
            rows = int(self.offsets[-1])
        return self.values.shape == (rows, *rest) and self.values.dtype == dtype

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def present(self) -> np.ndarray:
        """(N,) whether each row has the field."""
        return self.slots >= 0

    @property
    def lengths(self) -> np.ndarray:
        """(N,) length of each row's value, 0 where absent; 1 where no length varies."""
        if self.offsets is None:
            return self.present.astype(np.int64)
        sizes = np.append(np.diff(self.offsets), 0)  # slot -1 reads the appended 0
        return sizes[self.slots]

    def take(self, rows: np.ndarray) -> "Column":
        """The rows at ``rows`` (n,)."""
        return replace(self, slots=self.slots[rows])

    def compact(self) -> "Column":
        """This column, in memory, without the values that none of its rows has."""
        used, slots = np.unique(self.slots, return_inverse=True)
        absent = int((used < 0).sum())
        used, slots = used[absent:], slots.reshape(-1) - absent
        if self.offsets is None:
            return replace(self, values=self.values[used], slots=slots)
        begins, lengths = self.offsets[used], np.diff(self.offsets)[used]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], lengths)
        return replace(self, values=self.values[places], offsets=offsets, slots=slots)

    def batch(self, rows: np.ndarray) -> Field:
        """Stored values of the rows at ``rows`` (B,); the axis that varies is where the model form has it, padded."""
        slots = self.slots[rows]
        present = slots >= 0
        if self.offsets is None:
            value, mask = self._fixed(slots, present), present[:, None]
        else:
            value, mask = self._variable(slots, present, self.offsets)
        return Field(_tensor(value), _tensor(mask), _tensor(present), self.varies)

    def _fixed(self, slots: np.ndarray, present: np.ndarray) -> np.ndarray:
        if not present.any():  # there may be no value at all to read
            return np.zeros((len(slots), *self.values.shape[1:]), self.values.dtype)
        value = self.values[np.maximum(slots, 0)]
        if not present.all():
            value[~present] = np.zeros((), value.dtype)
        return value

    def _variable(self, slots: np.ndarray, present: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        starts = offsets[np.maximum(slots, 0)]
        lengths = np.where(present, offsets[np.maximum(slots, 0) + present] - starts, 0)
        steps = np.arange(max(1, int(lengths.max(initial=1))))
        mask = steps < lengths[:, None]
        if not mask.any():
            value = np.zeros((*mask.shape, *self.values.shape[1:]), self.values.dtype)
        else:
            value = self.values[np.where(mask, starts[:, None] + steps, starts[present][0])]
            value[~mask] = np.zeros((), value.dtype)
        assert self.varies is not None
        return np.moveaxis(value, 1, 1 + self.varies), mask


class ColumnWriter:
    """Writes values into a folder, from which ``Column.open`` maps them, without holding them in memory.

    Args:
        folder: To write to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, (folder / _VALUES).open("w+b")
        self._form: tuple[np.dtype, tuple[int, ...]] | None = None
        self._count, self._lengths, self._variable = 0, [0], False

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._header()
        self._file.close()
        if self._variable:
            np.save(self._folder / _OFFSETS, np.cumsum(self._lengths, dtype=np.int64))

    def _header(self) -> None:
        """NumPy pads its header so that a longer first axis fits in the same bytes."""
        if self._form:
            header = {"descr": self._form[0].str, "fortran_order": False, "shape": (self._count, *self._form[1])}
            self._file.seek(0)
            np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, values: np.ndarray, lengths: Sequence[int] | None = None) -> None:
        """Adds values that lie end to end; the first ones, of which there may be none, tell the type and the shape.

        Args:
            values: (n, *shape), or (sum of lengths, *rest) where an axis varies.
            lengths: (n,) along the axis that varies.
        """
        form = values.dtype, values.shape[1:]
        if self._form is None:
            self._form, self._variable = form, lengths is not None
            self._header()
        assert form == self._form, f"{form} among values of {self._form}"
        self._file.write(np.ascontiguousarray(values).tobytes())
        self._count += len(values)
        self._lengths.extend(lengths or [])


def stored(value: Tensor) -> np.ndarray:
    """A tensor as an array that a column holds."""
    value = value.cpu().contiguous()
    return value.view(torch.int16).numpy().view(BF16) if value.dtype == torch.bfloat16 else value.numpy()


def _tensor(array: np.ndarray) -> Tensor:
    array = np.ascontiguousarray(array)
    return (
        torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) if array.dtype == BF16 else torch.from_numpy(array)
    )
