"""Labels: one of a list of class names."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from polymodal.errors import ConfigError, DataError, unknown
from polymodal.modalities.base import ColumnSample, Modality
from polymodal.modalities.numbers import column_numbers, column_size, is_list
from polymodal.modalities.text import decode_text, shown
from polymodal.types import Space

_MOST_CLASSES = 1000
_MOST_NUMBERED = 20
"""Distinct whole numbers that are classes whatever they are; more are if they count from 0 or 1."""
_LONGEST_CLASS = 40
_WHOLE = re.compile(r"([+-]?\d+)\.0")
"""A whole number as tables write it when a column of them has gaps."""


class Label(Modality):
    """One of a fixed list of classes.

    Space: discrete (1,), one id per class name. Whole numbers count as names: ``3`` and ``3.0`` are ``"3"``.

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
            if all(map(_WHOLE.fullmatch, found)):
                found = {_WHOLE.sub(r"\1", name) for name in found}
            self.__init__(sorted(found) or None)  # type: ignore[misc]

    def read(self, raw: Any) -> np.ndarray:
        """Str, whole number, or path or bytes of a text file -> id (1,)."""
        name = _name(raw)
        if name not in self._ids:
            name = _WHOLE.sub(r"\1", name) if _WHOLE.fullmatch(name) else name
        if name not in self._ids:
            raise DataError(unknown("label", name, list(self._ids)[:20] if len(self._ids) > 20 else self._ids))
        return np.array([self._ids[name]], dtype=self.dtype)

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.to(torch.int64)

    def write(self, value: Tensor) -> str:
        return (self.names or [])[int(value.reshape(-1)[0])]

    def portable(self) -> dict[str, Any]:
        return {"form": "names", "names": self.names}

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Truth values, and strings or few whole numbers that come at least twice on average."""
        if all(isinstance(cell, bool | np.bool_) for cell in sample.cells):
            return cls()
        most = min(_MOST_CLASSES, len(sample.cells) // 2)
        if (numbers := column_numbers(sample.cells)) is not None:
            classes = np.unique(numbers)
            counted = classes[0] in (0, 1) and 2 * len(classes) > classes[-1]
            few = len(classes) <= min(len(numbers) // 2, _MOST_CLASSES if counted else _MOST_NUMBERED)
            return cls() if few and (classes == np.floor(classes)).all() else None
        names = {cell for cell in sample.cells if isinstance(cell, str)}
        if names and (all(map(is_list, names)) or column_size([*names])):
            return None
        if len(names) <= most and sample.mostly(str) and max(map(len, names)) <= _LONGEST_CLASS:
            return cls()
        return None


def _name(raw: Any) -> str:
    if isinstance(raw, int | np.integer):
        return str(raw)
    if isinstance(raw, float | np.floating) and raw == np.floor(raw):
        return f"{raw:.0f}"
    if isinstance(raw, np.bool_):
        return str(bool(raw))
    if not isinstance(raw, str | bytes | Path):
        raise DataError(f"{shown(raw)} is not a class name")
    return decode_text(raw)
