"""Vectors: numbers of a fixed count, standardised."""

import json
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from polymodal.errors import ConfigError, DataError
from polymodal.modalities.base import ColumnSample, Modality
from polymodal.modalities.text import shown
from polymodal.types import Space


class Numbers(np.ndarray):
    """A vector (size,) as NumPy knows it, with ``save``."""

    def save(self, path: str | Path) -> None:
        """Write a ``.npy`` file."""
        with open(path, "wb") as file:
            np.save(file, np.asarray(self))


class Vector(Modality):
    """``size`` numbers, each less its mean and divided by its standard deviation.

    Space: continuous (size,). Stored: the numbers as given, in 32-bit floats.

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
        if not isinstance(size, int) or size < 1:
            raise ConfigError(f"size: {size!r} is not a count of numbers")
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
        # Welford's update in 64 bits: one pass, and no cancellation where the mean is far from zero.
        count, mean, squares = 0, np.zeros(self.size), np.zeros(self.size)
        for raw in raws:
            try:
                numbers = self.read(raw).astype(np.float64)
            except DataError:
                continue  # the build refuses the same cell, and says so with its row
            count += 1
            delta = numbers - mean
            mean += delta / count
            squares += delta * (numbers - mean)
        if count:
            deviation = np.sqrt(squares / count)
            self.mean = self.mean or mean.tolist()
            self.std = self.std or np.where(deviation > 1e-8 * np.maximum(1, np.abs(mean)), deviation, 1.0).tolist()

    def read(self, raw: Any) -> np.ndarray:
        """Sequence or array of numbers, JSON or numbers apart by spaces, or path or bytes of ``.npy`` -> (size,)."""
        try:
            numbers = np.asarray(_parse(raw), dtype=np.float32)
        except (TypeError, ValueError, OSError, EOFError) as error:
            raise DataError(f"{shown(raw)} is not a vector") from error
        numbers = numbers.reshape(1) if numbers.ndim == 0 else numbers
        if numbers.shape != (self.size,):
            raise DataError(f"a vector of shape {numbers.shape}; size {self.size} wants ({self.size},)")
        if not np.isfinite(numbers).all():
            raise DataError(f"number {int(np.argmin(np.isfinite(numbers)))} of the vector is not finite")
        return numbers

    def to_model(self, stored: Tensor) -> Tensor:
        mean, std = self._moments(stored.device)
        return (stored.to(torch.float32) - mean) / std

    def write(self, value: Tensor) -> Numbers:
        mean, std = self._moments(value.device)
        return (value.detach().float() * std + mean).cpu().numpy().view(Numbers)

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Numbers, and lists of numbers, of the size of the first one."""
        if isinstance(sample.first, int | float):
            return cls(1)
        if not isinstance(sample.first, list | np.ndarray):
            return None
        try:
            numbers = np.asarray(sample.first)
        except ValueError:  # lists of several lengths
            return None
        return cls(len(numbers)) if numbers.ndim == 1 and numbers.dtype.kind in "iuf" else None

    def encode(self, thing: Numbers) -> bytes:
        file = BytesIO()
        np.save(file, np.asarray(thing))
        return file.getvalue()

    def cell(self, thing: Numbers) -> list[float]:
        return np.asarray(thing).tolist()

    def preview(self, thing: Numbers) -> Markup:
        return Markup('<code class="text">{}</code>').format(np.array2string(np.asarray(thing), precision=2))

    def _moments(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self.mean is None or self.std is None:
            return torch.zeros(self.size, device=device), torch.ones(self.size, device=device)
        return torch.tensor(self.mean, device=device), torch.tensor(self.std, device=device)


def _parse(raw: Any) -> Any:
    if isinstance(raw, Path):
        raw = raw.read_bytes()
    if isinstance(raw, bytes):
        return np.load(BytesIO(raw), allow_pickle=False)
    if isinstance(raw, str):
        return json.loads(raw) if raw.lstrip().startswith("[") else [float(word) for word in raw.split()]
    return raw
