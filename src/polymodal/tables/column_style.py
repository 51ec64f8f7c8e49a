"""What the cells of a column have in common, so that new ones are of the same type, range and fineness."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from polymodal.modalities.numbers import take_apart

ENOUGH = 10
"""Numbers of a column from which one may conclude that all are whole, have so many decimals, or lie in their range."""

_WHOLE = re.compile(r"([+-]?\d+)\.0")
_WORD = re.compile(r"[+-]?\d+(?:\.(\d*))?")
_MOST_VALUES = 10_000
_MOST_DECIMALS = 6


@dataclass
class NumberStyle:
    """How far the numbers of a column reach, and how finely they are written.

    Attributes:
        count: Cells that are numbers.
        low: The least, of each place of a vector or of all together.
        high: The greatest.
        whole: Whether all are whole.
        integers: Whether none is written with a point.
        fewest_decimals: The fewest decimals of those that are written with a point.
        most_decimals: None where they are no decimals.
    """

    count: int = 0
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    whole: bool = True
    integers: bool = True
    fewest_decimals: int = 99
    most_decimals: int | None = 0

    def add(self, words: Sequence[Any]) -> None:
        """Takes note of the numbers of one cell, as they are written."""
        numbers = [float(word) for word in words]
        if not numbers or not all(map(math.isfinite, numbers)):
            return
        self.count += 1
        self._reach(numbers, numbers)
        for word, number in zip(words, numbers, strict=True):
            self.whole = self.whole and number.is_integer()
            if isinstance(word, int | np.integer):
                self.fewest_decimals = 0
                continue
            written = _WORD.fullmatch(str(word))
            decimals = None if written is None else len(written[1]) if written[1] is not None else -1
            self.integers = self.integers and decimals == -1
            if decimals is None or self.most_decimals is None:
                self.most_decimals = None
            else:
                decimals = max(0, decimals)
                self.most_decimals = max(self.most_decimals, decimals)
                self.fewest_decimals = min(self.fewest_decimals, decimals)

    def merge(self, other: NumberStyle) -> None:
        """Takes note of the numbers that another has seen."""
        if not other.count:
            return
        self.count += other.count
        self._reach(other.low, other.high)
        self.whole = self.whole and other.whole
        self.integers = self.integers and other.integers
        self.fewest_decimals = min(self.fewest_decimals, other.fewest_decimals)
        decimals = (self.most_decimals, other.most_decimals)
        self.most_decimals = None if None in decimals else max(n for n in decimals if n is not None)

    def _reach(self, low: list[float], high: list[float]) -> None:
        if self.low and len(low) != len(self.low):  # places mean nothing where cells have several lengths
            low, high, self.low, self.high = [min(low)], [max(high)], [min(self.low)], [max(self.high)]
        self.low = list(map(min, self.low or low, low))
        self.high = list(map(max, self.high or high, high))

    def fit(self, number: float, place: int = 0) -> float:
        """A number within the range of the others, as fine as they are; an integer where they are integers."""
        if isinstance(number, bool | int) and not self.count:
            return number
        number = self._known_digits(number, place if len(self.low) > 1 else 0)
        if self.count and self.integers:
            return round(number)
        if self.count >= ENOUGH:
            if self.whole:
                return float(round(number))
            if self.most_decimals is not None and self.most_decimals <= _MOST_DECIMALS:
                return round(number, self.most_decimals)
        return number

    def _known_digits(self, number: float, place: int) -> float:
        """A number within the range, without digits beyond the accuracy of a model, some 24 bits of what varies."""
        if not self.low or not math.isfinite(number):
            return float(f"{number:.9g}")
        low, high = self.low[place], self.high[place]
        if low < high:
            number = round(number, 6 - math.floor(math.log10(high - low)))
        if self.count < ENOUGH:  # of so few, the sign is all that one may conclude from
            low, high = 0.0 if low >= 0 else -math.inf, 0.0 if high <= 0 else math.inf
        return min(max(number, low), high)

    def text(self, number: float, place: int = 0) -> str:
        """``fit``, as the others are written."""
        number = self.fit(number, place)
        if isinstance(number, float) and self.most_decimals is not None and self.count >= ENOUGH:
            decimals = len(str(number).partition(".")[2]) if "e" not in str(number) else 99
            if decimals <= self.most_decimals or number.is_integer():
                return f"{number:.{max(self.fewest_decimals, 0 if number.is_integer() else decimals)}f}"
        return str(number)


class ColumnStyle:
    """The types of a column's cells, and its numbers.

    Args:
        size: How many numbers a cell has; None if that is not known. ``3,5`` is one number, or two.

    Attributes:
        kinds: Number of cells by type: ``bool``, ``int``, ``float``, ``str``, ``list``.
        values: By the name that a class has, how the cells write it: 3, True, ``"3.0"``.
        forms: How cells write numbers as text: what stands before, between and behind them.
        commas: Number of cells with a decimal comma.
        points: Number of texts with a decimal point.
        numbers: What is known of the numbers.
        scalar: Whether a column that is new holds numbers rather than lists of one.
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self.kinds: Counter[str] = Counter()
        self.values: dict[str, Any] = {}
        self.forms: Counter[tuple[str, str, str]] = Counter()
        self.commas, self.points = 0, 0
        self.numbers = NumberStyle()
        self.scalar = False

    def add(self, cell: Any) -> None:
        """Takes note of a cell that holds something."""
        kind = _kind(cell)
        self.kinds[kind] += 1
        if len(self.values) < _MOST_VALUES:
            if kind in ("bool", "int", "float"):
                self.values.setdefault(str(cell), cell)
            elif kind == "str" and (whole := _WHOLE.fullmatch(cell)):
                self.values.setdefault(whole[1], cell)
        words = None if kind == "bool" else _words(cell)
        if kind == "str":
            found = take_apart(cell, self.size)
            words = found.words if all(map(_is_number, found.words)) else None
            if words is not None:
                self.forms[found.form] += 1
                self.commas += found.comma
                self.points += not found.comma and any("." in word for word in words)
        if words is not None and self.size in (None, len(words)):
            with suppress(TypeError, ValueError):
                self.numbers.add(words)

    @property
    def kind(self) -> str | None:
        """The type that most cells have; ``float`` if some numbers are whole and others not."""
        kind = self.kinds.most_common(1)[0][0] if self.kinds else None
        return "float" if kind == "int" and self.kinds["float"] else kind

    def like(self, content: Any) -> Any:
        """A text, a number or a list of numbers, in the type that most cells have.

        Raises:
            ValueError: It cannot be written in that type.
        """
        kind = self.kind
        if isinstance(content, bool) and kind is None:
            return content
        if isinstance(content, str):
            if kind in ("bool", "int", "float"):
                return self.values[content] if content in self.values else _parsed(content, kind)
            return content
        if not is_numeric(content):
            return content
        if kind in ("bool", "int", "float") or (kind is None and self.scalar):
            number = self.numbers.fit(_first(content))
            return number >= 0.5 if kind == "bool" else round(number) if kind == "int" else number
        if kind == "str":
            return self.text(content)
        if isinstance(content, list):
            return [self.numbers.fit(number, place) for place, number in enumerate(content)]
        return self.numbers.fit(content)

    def text(self, content: Any) -> str:
        """A content as text: what is text as it is, numbers as the others are written."""
        if isinstance(content, bool):
            return str(content).lower()
        if isinstance(content, str):
            there = self.values.get(content)
            return there if isinstance(there, str) else content
        if not is_numeric(content):
            return json.dumps(content)
        numbers = content if isinstance(content, list) else [content]
        words = [self.numbers.text(number, place) for place, number in enumerate(numbers)]
        if self.commas > self.points:
            words = [word.replace(".", ",") for word in words]
        before, between, behind = self.forms.most_common(1)[0][0] if self.forms else ("", " ", "")
        return f"{before}{(between or ' ').join(words)}{behind}"


def is_numeric(content: Any) -> bool:
    """Whether this is a number, or a list of numbers."""
    numbers = content if isinstance(content, list) else [content]
    return all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)


def _first(content: Any) -> Any:
    return content[0] if isinstance(content, list) else content


def _parsed(text: str, kind: str) -> Any:
    if kind == "bool":
        truths = {"true": True, "1": True, "false": False, "0": False}
        if text.lower() not in truths:
            raise ValueError(f"'{text}' is neither true nor false")
        return truths[text.lower()]
    number = float(text)
    if kind == "int" and not number.is_integer():
        raise ValueError(f"'{text}' is no whole number")
    return int(number) if kind == "int" else number


def _kind(cell: Any) -> str:
    for name, types in {
        "bool": bool | np.bool_,
        "int": int | np.integer,
        "float": float | np.floating | Decimal,
        "str": str,
        "list": list | tuple | np.ndarray,
    }.items():
        if isinstance(cell, types):
            return name
    return type(cell).__name__


def _words(cell: Any) -> Sequence[Any] | None:
    """The numbers of a cell that is no text; None if it holds something else."""
    if isinstance(cell, list | tuple | np.ndarray):
        cells = cell.tolist() if isinstance(cell, np.ndarray) else list(cell)
        return cells if cells and all(_kind(one) in ("int", "float") for one in cells) else None
    return [cell] if _kind(cell) in ("int", "float") else None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
