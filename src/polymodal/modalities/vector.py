"""Vectors: numbers of a fixed count, standardised."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from polymodal.errors import ConfigError, DataError
from polymodal.modalities.base import ColumnSample, Modality, read_file
from polymodal.modalities.numbers import column_numbers, is_decimal, is_number, parse_number, parse_vector
from polymodal.modalities.text import shown
from polymodal.types import Space

_NPY = b"\x93NUMPY"
_MOST_NUMBERS = 1 << 24
_LARGEST = float(np.finfo(np.float32).max)
_ROUNDING = 16 * np.finfo(np.float64).eps
"""Deviations of less than this share of the mean are errors of rounding: the number does not vary."""


class Numbers(np.ndarray):
    """A vector (size,) of 64-bit floats as NumPy knows it, with ``save``."""

    def save(self, path: str | Path) -> None:
        """Write a ``.npy`` file."""
        with open(path, "wb") as file:
            np.save(file, np.asarray(self))


class Vector(Modality):
    """``size`` numbers, each less its mean and divided by its standard deviation.

    Space: continuous (size,). Stored: the standardised numbers, in 32-bit floats. They are standardised in 64 bits, so
    that numbers far from zero, such as seconds since 1970, and of any scale keep their digits.

    Args:
        size: How many numbers.
        mean: Of each number, or one for all. None: that of the training rows.
        std: Of each number, or one for all. None: that of the training rows; 1 for a number that does not vary.

    Raises:
        ConfigError: An argument is out of range.
    """

    dtype = np.float32
    suffix = ".npy"
    suffixes = (".npy",)
    inline = True

    def __init__(
        self, size: int, mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None
    ) -> None:
        if not isinstance(size, int) or not 1 <= size <= _MOST_NUMBERS:
            raise ConfigError(f"size: {size!r} is not a count of numbers, from 1 to {_MOST_NUMBERS:,}")
        self.size = size
        self.mean, self.std = self._statistic("mean", mean), self._statistic("std", std)
        if self.std is not None and min(self.std) <= 0:
            raise ConfigError(f"std: {min(self.std)} is not above 0")
        self.space = Space("continuous", (size,))

    def _statistic(self, name: str, value: float | Sequence[float] | None) -> list[float] | None:
        if value is None:
            return None
        numbers = [float(value)] * self.size if isinstance(value, int | float) else [float(x) for x in value]
        if len(numbers) != self.size or not np.isfinite(numbers).all():
            raise ConfigError(f"{name}: {len(numbers)} numbers given; one, or {self.size} finite ones, are right")
        return numbers

    def prepare(self, raws: Iterable[Any]) -> None:
        if self.mean is not None and self.std is not None:
            return
        # Welford's update in the longest floats: one pass, no cancellation where the mean is far from zero, and no
        # squares of tiny numbers that vanish.
        count, mean, squares = 0, np.zeros(self.size, np.longdouble), np.zeros(self.size, np.longdouble)
        for raw in raws:
            try:
                numbers = self._numbers(raw)
            except DataError:
                continue  # the build refuses the same cell, and says so with its row
            count += 1
            delta = numbers - mean
            mean += delta / count
            squares += delta * (numbers - mean)
        if count:
            deviation = np.sqrt(squares / count).astype(np.float64)
            varies = deviation > _ROUNDING * np.abs(mean)
            self.mean = self.mean or mean.astype(np.float64).tolist()
            self.std = self.std or np.where(varies, deviation, 1.0).tolist()

    def read(self, raw: Any) -> np.ndarray:
        """Sequence or array of numbers, a vector as text, or path or bytes of ``.npy`` -> (size,) standardised.

        Text is a list in JSON, as NumPy prints it, or numbers apart by spaces or commas.
        """
        mean, std = self._moments()
        return ((self._numbers(raw) - mean) / std).clip(-_LARGEST, _LARGEST).astype(self.dtype)

    def _numbers(self, raw: Any) -> np.ndarray:
        """Raw -> the numbers as given (size,), in 64-bit floats."""
        if isinstance(raw, Path) or (isinstance(raw, bytes) and raw.startswith(_NPY)):
            raw = _load(raw, (self.size,))
        try:
            if isinstance(raw, str | bytes):
                text = raw if isinstance(raw, str) else raw.decode()
                raw = parse_number(text) if self.size == 1 and is_decimal(text) else parse_vector(text)
            if np.asarray(raw).dtype.kind in "cmMV":
                raise TypeError("no real numbers")
            numbers = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise DataError(f"{shown(raw)} is not a vector") from error
        numbers = numbers.reshape(1) if numbers.ndim == 0 else numbers
        if numbers.shape != (self.size,):
            raise DataError(f"a vector of shape {numbers.shape}; size {self.size} wants ({self.size},)")
        if not (good := np.abs(numbers) <= _LARGEST).all():
            bad = int(np.argmin(good))
            problem = f"{numbers[bad]:g}, beyond 32 bits" if np.isfinite(numbers[bad]) else "not finite"
            raise DataError(f"number {bad} of the vector is {problem}")
        return numbers

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.to(torch.float32)

    def write(self, value: Tensor) -> Numbers:
        mean, std = self._moments()
        return (value.detach().cpu().double().numpy() * std + mean).view(Numbers)

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Numbers, also as text; and lists, arrays and ``.npy`` files of numbers, of the size that most have."""
        if column_numbers(sample.cells) is not None:
            return cls(1)
        found = [size for cell, file in zip(sample.cells, sample.files, strict=True) if (size := _size(cell, file))]
        size, count = Counter(found).most_common(1)[0] if found else (0, 0)
        return cls(size) if 2 * count > len(sample.cells) else None

    @classmethod
    def names_file(cls, text: str) -> bool:
        """Texts that end in ``.npy``."""
        return text.lower().endswith(cls.suffix)

    def encode(self, thing: Numbers) -> bytes:
        file = BytesIO()
        np.save(file, np.asarray(thing))
        return file.getvalue()

    def cell(self, thing: Numbers) -> list[float]:
        return np.asarray(thing).tolist()

    def preview(self, thing: Numbers) -> Markup:
        return Markup('<code class="text">{}</code>').format(np.array2string(np.asarray(thing), precision=2))

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.mean or [0.0] * self.size), np.asarray(self.std or [1.0] * self.size)


def _load(file: Path | bytes, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The array of a ``.npy`` file, whose memory is not taken before its header has the ``shape``.

    Raises:
        DataError: It is none, or of another shape.
    """
    content = BytesIO(file if isinstance(file, bytes) else read_file(file))
    try:
        version = np.lib.format.read_magic(content)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        claimed, _, dtype = read_header(content)
        if shape is not None and claimed not in (shape, ()):
            raise DataError(f"a vector of shape {claimed}; size {shape[0]} wants {shape}")
        if len(content.getvalue()) - content.tell() < int(np.prod(claimed, dtype=object)) * dtype.itemsize:
            raise ValueError("the file ends too early")
        content.seek(0)
        return np.load(content, allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # a header is parsed as Python is, which raises nearly every kind of error
        raise DataError(f"not a .npy file: {' '.join(str(error).split())}") from error


def _size(cell: Any, file: Any) -> int:
    """How many numbers a cell holds; 0 where it is no vector."""
    with suppress(DataError, ValueError, TypeError):
        if isinstance(file, Path | bytes):
            cell = _load(file) if isinstance(file, Path) or file.startswith(_NPY) else None
        elif isinstance(cell, str) and cell.lstrip().startswith("["):
            cell = parse_vector(cell)
        if isinstance(cell, list | tuple) and cell and all(map(is_number, cell)):
            return len(cell)
        if isinstance(cell, np.ndarray) and cell.ndim == 1 and cell.dtype.kind in "iuf":
            return len(cell)
    return 0
