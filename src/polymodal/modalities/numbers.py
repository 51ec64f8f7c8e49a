"""Numbers as tables write them: of Python's and NumPy's types, or as text."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_DECIMAL = re.compile(r"\s*[+-]?(?!0*[1-9]\d{0,2},\d{3}\s*$)\d+,\d+\s*")
"""A number with a decimal comma; not such as 1,234, which means one thing here and a thousand times as much there."""
_CODE = re.compile(r"\s*[+-]?0\d")
"""Begins a postal code or an article's number, not a number: it would lose its zeros."""
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
        return np.array([parse_number(cell) if isinstance(cell, str) else float(cell) for cell in numbers])
    except (OverflowError, ValueError):
        return None


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


def parse_vector(text: str) -> Any:
    """A vector as text: a list in JSON, as NumPy prints it (``[1. 2.]``), or numbers apart by spaces or commas.

    Raises:
        ValueError: It is none.
    """
    try:
        if text.lstrip().startswith("["):
            return json.loads(text)
    except (ValueError, RecursionError):
        if is_shortened(text):
            raise ValueError("NumPy has left numbers out: '...'") from None
    body = text.strip()
    body = body[1:-1] if body.startswith("[") and body.endswith("]") else body
    return [float(word) for word in (body.replace(",", " ") if "," in body else body).split()]


def is_list(text: str) -> bool:
    """Whether a text is a list of numbers in brackets."""
    try:
        return text.lstrip().startswith("[") and isinstance(parse_vector(text), list)
    except ValueError:
        return False


def is_shortened(text: str) -> bool:
    """Whether NumPy has printed an array in part, so that its numbers are lost."""
    return _SHORTENED.fullmatch(text) is not None
