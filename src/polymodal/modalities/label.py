"""Labels: one of a list of class names."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from polymodal.errors import ConfigError, DataError, unknown
from polymodal.modalities.base import ColumnSample, Modality
from polymodal.modalities.text import decode_text, shown
from polymodal.types import Space

_MOST_CLASSES = 1000
_LONGEST_CLASS = 40


class Label(Modality):
    """One of a fixed list of classes.

    Space: discrete (1,), one id per class name. Integers count as names (``3`` is ``"3"``).

    Args:
        names: The classes, in the order of their ids. None: all that the data names, sorted.

    Raises:
        ConfigError: Names are empty or repeat.
    """

    dtype = np.int32
    suffixes = (".cls",)
    inline = True
    prepares_on = "all"

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self.names = None if names is None else [str(name) for name in names]
        if self.names is not None and (not self.names or len(set(self.names)) < len(self.names)):
            raise ConfigError(f"names: {self.names} must be at least one class, each named once")
        self._ids = {name: i for i, name in enumerate(self.names or ())}
        self.space = Space("discrete", (1,), vocab=len(self._ids))

    def prepare(self, raws: Iterable[Any]) -> None:
        if self.names is None:
            found = set()
            for raw in raws:
                try:
                    found.add(_name(raw))
                except DataError:
                    continue  # read() refuses the same cell, and says so with its row
            self.__init__(sorted(found) or None)  # type: ignore[misc]

    def read(self, raw: Any) -> np.ndarray:
        """Str, int, or path or bytes of a text file -> id (1,)."""
        name = _name(raw)
        if name not in self._ids:
            raise DataError(unknown("label", name, list(self._ids)[:20] if len(self._ids) > 20 else self._ids))
        return np.array([self._ids[name]], dtype=self.dtype)

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.to(torch.int64)

    def write(self, value: Tensor) -> str:
        return (self.names or [])[int(value.reshape(-1)[0])]

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Truth values, and strings or whole numbers that come at least twice on average."""
        if not isinstance(sample.first, str | int):  # True is an integer
            return None
        names = {str(cell) for cell in sample.cells}
        few = len(names) <= min(_MOST_CLASSES, len(sample.cells) // 2) and max(map(len, names)) <= _LONGEST_CLASS
        return cls() if few or isinstance(sample.first, bool) else None


def _name(raw: Any) -> str:
    if isinstance(raw, int | np.integer):
        return str(raw)
    if not isinstance(raw, str | bytes | Path):
        raise DataError(f"{shown(raw)} is not a class name")
    return decode_text(raw)
