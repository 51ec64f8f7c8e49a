"""Vectors: numbers of a fixed count, brought to the shape of a normal distribution."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from polymodal.errors import ConfigError, DataError, quote
from polymodal.files import write_array
from polymodal.modalities.base import ColumnSample, Modality, Stored
from polymodal.modalities.moments import given_moments
from polymodal.modalities.npy import NPY, load_npy
from polymodal.modalities.numbers import column_numbers, column_size, is_number, parse_vector
from polymodal.modalities.scales import LARGEST, SCALES, Sample, Scales, check_knots
from polymodal.modalities.text import shown
from polymodal.types import Space

_MOST_NUMBERS = 1 << 24
_NUMBERS_TOGETHER = 1 << 14
FAR = 3.0
"""Standard deviations from the mean, on a scale that is not linear, beyond which a value counts as one that far away
where values are averaged."""


class Numbers(np.ndarray):
    """A vector (size,) of 64-bit floats as NumPy knows it, with ``save``."""

    def __str__(self) -> str:
        return ", ".join(f"{number:.7g}" for number in np.ravel(self).tolist())  # the digits that 32 bits keep

    def __repr__(self) -> str:
        return f"Numbers({self})"

    def save(self, path: str | Path) -> None:
        """Write a ``.npy`` file."""
        write_array(Path(path), np.asarray(self))


class Vector(Modality):
    """``size`` numbers, each on a scale of its own, less its mean there and divided by its standard deviation.

    Space: continuous (size,). Stored: the standardised numbers, in 32-bit floats. They are standardised in 64 bits, so
    that numbers far from zero, such as seconds since 1970, and of any scale keep their digits.

    Args:
        size: How many numbers.
        mean: Of each number, or one for all, on its scale. None: that of the training rows.
        std: Of each number, or one for all, on its scale. None: that of the training rows; 1 for a number that does not
            vary.
        scale: Of each number, or one for all: ``linear``; ``log``, of numbers above 0 that spread over magnitudes, such
            as prices; ``quantile``, of any shape, which is bent to a normal distribution by ``knots``. None: the
            one on which the training values are nearest to normal, in doubt the former; ``linear`` where mean and std
            are given.
        knots: Of each number on a ``quantile`` scale, its values and where these lie on the scale, both rising; else
            None. None: from the training rows.

    Raises:
        ConfigError: An argument is out of range.
    """

    dtype = np.float32
    suffix = ".npy"
    suffixes = (".npy",)
    inline = True

    def __init__(
        self,
        size: int,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        scale: str | Sequence[str] | None = None,
        knots: Sequence[Any] | None = None,
    ) -> None:
        if not isinstance(size, int) or not 1 <= size <= _MOST_NUMBERS:
            raise ConfigError(f"size: {quote(size)} is not a count of numbers, from 1 to {_MOST_NUMBERS:,}")
        self.size = size
        self.mean, self.std = given_moments(size, mean, std)
        if scale is None and self.mean is not None and self.std is not None:
            scale = "linear"
        self.scale = [scale] * size if isinstance(scale, str) else None if scale is None else list(scale)
        if self.scale is not None and (len(self.scale) != size or not {*self.scale} <= {*SCALES}):
            raise ConfigError(f"scale: {quote(scale)} is not one of {', '.join(SCALES)}, or {size} of these")
        self.knots = None if knots is None else check_knots(knots, self.scale or [], "knots")
        self.space = Space("continuous", (size,))

    def prepare(self, raws: Iterable[Any]) -> None:
        if self.scale is not None and self.mean is not None and self.std is not None:
            return
        sample, raws = Sample(self.size), iter(raws)
        while some := list(islice(raws, max(1, _NUMBERS_TOGETHER // self.size))):
            for numbers in map(self._numbers_or_none, some) if (many := self._many(some)) is None else many:
                if numbers is not None:  # the build refuses the same cell, and says so with its row
                    sample.add(numbers)
        if sample.count:
            fitted = sample.fit(self.scale, self.knots)
            self.scale, self.knots = fitted.scale, fitted.knots
            self.mean, self.std = self.mean or fitted.mean, self.std or fitted.std

    def read(self, raw: Any) -> np.ndarray:
        """Sequence or array of numbers, a vector as text, or path or bytes of ``.npy`` -> (size,) standardised.

        Text is a list in JSON, as NumPy prints it, or numbers apart by semicolons, spaces or commas.
        """
        deviations = self._scales.standardise(self._numbers(raw))
        if (most := np.abs(deviations).max()) > LARGEST:
            raise DataError(f"{most:g} standard deviations from the mean, beyond 32 bits")
        return deviations.astype(self.dtype)

    def read_many(self, raws: Sequence[Any]) -> Stored | None:
        if (numbers := self._many(raws)) is None:
            return None
        deviations = self._scales.standardise(numbers)
        return (deviations.astype(self.dtype), None) if (np.abs(deviations) <= LARGEST).all() else None

    def _many(self, raws: Sequence[Any]) -> np.ndarray | None:
        """The numbers of arrays as given (n, size), in 64-bit floats; None if they are no such arrays."""
        shape = (self.size,)
        if not all(type(raw) is np.ndarray and raw.dtype.kind == "f" and raw.shape == shape for raw in raws):
            return None
        numbers = np.stack(raws).astype(np.float64)
        return numbers if (np.abs(numbers) <= LARGEST).all() else None

    def _numbers_or_none(self, raw: Any) -> np.ndarray | None:
        try:
            return self._numbers(raw)
        except DataError:
            return None

    def _numbers(self, raw: Any) -> np.ndarray:
        """Raw -> the numbers as given (size,), in 64-bit floats."""
        if type(raw) is np.ndarray and raw.dtype.kind == "f" and raw.shape == (self.size,):
            numbers = raw.astype(np.float64)
            if (np.abs(numbers) <= LARGEST).all():
                return numbers
        if isinstance(raw, Path) or (isinstance(raw, bytes) and raw.startswith(NPY)):
            raw = load_npy(raw, self._check_shape)
        try:
            if isinstance(raw, str | bytes):
                text = raw if isinstance(raw, str) else raw.decode()
                raw = parse_vector(text, self.size)
            if np.asarray(raw).dtype.kind in "cmMV":
                raise TypeError("no real numbers")
            numbers = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise DataError(f"{shown(raw)} is not a vector") from error
        numbers = numbers.reshape(1) if numbers.ndim == 0 else numbers
        if numbers.shape != (self.size,):
            raise DataError(f"a vector of shape {numbers.shape}; size {self.size} wants ({self.size},)")
        if not (good := np.abs(numbers) <= LARGEST).all():
            bad = int(np.argmin(good))
            problem = f"{numbers[bad]:g}, beyond 32 bits" if np.isfinite(numbers[bad]) else "not finite"
            raise DataError(f"number {bad} of the vector is {problem}")
        return numbers

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if shape not in ((self.size,), ()):
            raise DataError(f"a vector of shape {shape}; size {self.size} wants ({self.size},)")

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.to(torch.float32)

    def write(self, value: Tensor) -> Numbers:
        return self._raw(value).view(Numbers)

    def mean_of(self, values: Tensor, weights: Tensor | None = None) -> Tensor:
        if {*(self.scale or [])} - {"linear"}:  # of an exponential, what is hardly ever drawn would count most
            values = values.clamp(-FAR, FAR)
        numbers = torch.from_numpy(self._raw(values)).clamp(-LARGEST, LARGEST)
        middle = super().mean_of(numbers, None if weights is None else weights.double().cpu())
        return torch.from_numpy(self._scales.standardise(middle.numpy())).to(values.device, values.dtype)

    def _raw(self, values: Tensor) -> np.ndarray:
        """Values (..., size) in model form -> numbers."""
        return self._scales.restore(values.detach().cpu().double().numpy())

    def portable(self) -> dict[str, Any]:
        scales = self._scales
        return {
            "form": "numbers", "scale": list(scales.kinds), "mean": scales.mean.tolist(), "std": scales.std.tolist(),
            "floor": scales.floors(), "knots": self.knots,
        }  # fmt: skip

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Numbers, also as text; and lists, arrays and ``.npy`` files of numbers, of the size that most have."""
        if column_numbers(sample.cells) is not None:
            return cls(1)
        if sample.mostly(str) and (size := column_size(sample.cells)):
            return cls(size)
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

    @property
    def _scales(self) -> Scales:
        mean, std = np.asarray(self.mean or [0.0] * self.size), np.asarray(self.std or [1.0] * self.size)
        return Scales(self.scale or ["linear"] * self.size, mean, std, self.knots)


def _size(cell: Any, file: Any) -> int:
    """How many numbers a cell holds; 0 where it is no vector."""
    with suppress(DataError, ValueError, TypeError):
        if isinstance(file, Path | bytes):
            cell = load_npy(file) if isinstance(file, Path) or file.startswith(NPY) else None
        elif isinstance(cell, str) and cell.lstrip().startswith("["):
            cell = parse_vector(cell)
        if isinstance(cell, list | tuple) and cell and all(map(is_number, cell)):
            return len(cell)
        if isinstance(cell, np.ndarray) and cell.ndim == 1 and cell.dtype.kind in "iuf":
            return len(cell)
    return 0
