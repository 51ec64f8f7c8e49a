"""Columns: the stored values of one field, each distinct one kept once."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from polymodal.types import Field


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
            value[~present] = 0
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
            value[~mask] = 0
        assert self.varies is not None
        return np.moveaxis(value, 1, 1 + self.varies), mask


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
