"""Numbers as tables write them: of Python's and NumPy's types, or as text."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_DECIMAL = re.compile(r"\s*[+-]?(?!0*[1-9]\d{0,2},\d{3}\s*$)\d+,\d+\s*")
"""A number with a decimal comma; not such as 1,234, which means one thing here and a thousand times as much there."""
_CODE = re.compile(r"\s*[+-]?0\d")
"""Begins a postal code or an article's number, not a number: it would lose its zeros."""
_MOST_LISTS = 1 << 22
_EXACT = 2.0**53
"""Up to here, each whole number is a float of its own."""
_GROUPED = re.compile(r"\s*[+-]?\d{1,3}([ ,]\d{3})+\s*")
_NO_NUMBER = frozenset(("na", "n/a", "nan", "null", "none", "-", "?", "inf", "-inf"))
"""What tables put where a number is missing, in lower case."""
_SHORTENED = re.compile(r"\[[^\]]*\.\.\.[^\]]*\]\s*")


def column_numbers(cells: Sequence[Any]) -> np.ndarray | None:
    """(n,) float64 of a column's cells where each of them is a number, without marks of missing ones; else None."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    if texts:
        texts = [text for text in texts if text.strip().lower() not in _NO_NUMBER]
        if not all(_NUMBER.fullmatch(text) or is_decimal(text) for text in texts) or any(map(_CODE.match, texts)):
            return None
    numbers = texts + [cell for cell in cells if not isinstance(cell, str)]
    if not numbers or not all(isinstance(cell, str) or is_number(cell) for cell in numbers):
        return None
    try:
        found = np.array([parse_number(cell) if isinstance(cell, str) else float(cell) for cell in numbers])
    except (OverflowError, ValueError):
        return None
    if np.abs(found).max() > _EXACT and len(np.unique(found)) < len({str(cell).strip() for cell in numbers}):
        return None  # numbers that name something, of which floats would make the same
    return found


def is_decimal(text: str) -> bool:
    """Whether a text is a number with a decimal comma."""
    return _DECIMAL.fullmatch(text) is not None


def parse_number(text: str) -> float:
    """A number with a decimal point or comma.

    Raises:
        ValueError: It is none.
    """
    return float(text.replace(",", ".") if is_decimal(text) else text)


def is_number(cell: Any) -> bool:
    """Whether a cell is a number, and no truth value."""
    return isinstance(cell, int | float | np.integer | np.floating | Decimal) and not isinstance(cell, bool)


@dataclass(frozen=True)
class NumberText:
    """Numbers that are written as text.

    Attributes:
        words: One for each number, with a decimal point.
        form: What stands before the first, between two and behind the last.
        comma: Whether a decimal comma was in one.
    """

    words: list[str]
    form: tuple[str, str, str]
    comma: bool


def take_apart(text: str, size: int | None = None) -> NumberText:
    """The numbers of a text, in brackets or not, apart by semicolons, spaces or commas.

    A comma is a decimal one between semicolons, in all of the words that stand between spaces, and in a text that is
    to be one number.

    Args:
        text: Whatever a cell holds.
        size: How many numbers it should have; None if that is not known.
    """
    body = text.strip()
    form = ("[", "]") if body.startswith("[") and body.endswith("]") else ("", "")
    body = body[1:-1].strip() if form[0] else body
    spaced = body.split()
    if ";" in body:
        between = r"\s*;\s*"
    elif all(map(is_decimal, spaced)) and (len(spaced) > 1 or size == 1):
        between = r"\s+"
    else:
        between = r"\s*,\s*|\s+"
    first, body = re.search(between, body), body.rstrip(",;").rstrip()
    words = re.split(between, body)
    comma = [is_decimal(word) for word in words]
    words = [word.replace(",", ".") if decimal else word for word, decimal in zip(words, comma, strict=True)]
    return NumberText(words, (form[0], first[0] if first else "", form[1]), any(comma))


def parse_vector(text: str, size: int | None = None) -> Any:
    """A vector as text: a list in JSON, as NumPy prints it (``[1. 2.]``), or numbers as ``take_apart`` finds them.

    Raises:
        ValueError: It is none.
    """
    if text.count("[") > _MOST_LISTS:  # each takes some 70 bytes of memory
        raise ValueError(f"over {_MOST_LISTS:,} lists")
    try:
        if text.lstrip().startswith("["):
            return json.loads(text)
    except (ValueError, RecursionError):
        if is_shortened(text):
            raise ValueError("NumPy has left numbers out: '...'") from None
    return [float(word) for word in take_apart(text, size).words]


def column_size(cells: Sequence[Any]) -> int:
    """How many numbers each text of a column holds that are not in brackets, if all hold as many, 2 or more; else 0.

    Numbers that begin with a zero, such as those of telephones, are codes. Where each text may also be one number whose
    thousands are set apart, nothing is concluded.
    """
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip().lower() not in _NO_NUMBER]
    if not texts or all(map(_GROUPED.fullmatch, texts)):
        return 0
    found = [take_apart(text).words for text in texts]
    if any(_CODE.match(word) or not _NUMBER.fullmatch(word) for words in found for word in words):
        return 0
    sizes = {len(words) for words in found}
    return sizes.pop() if len(sizes) == 1 and 1 not in sizes else 0


def is_list(text: str) -> bool:
    """Whether a text is a list of numbers in brackets."""
    try:
        return text.lstrip().startswith("[") and isinstance(parse_vector(text), list)
    except ValueError:
        return False


def is_shortened(text: str) -> bool:
    """Whether NumPy has printed an array in part, so that its numbers are lost."""
    return _SHORTENED.fullmatch(text) is not None
