"""Means and standard deviations that a modality standardises by: given, or learned in one pass."""

from collections.abc import Sequence

import numpy as np

from polymodal.errors import ConfigError

_ROUNDING = 16 * np.finfo(np.float64).eps
"""Deviations of less than this share of the mean are errors of rounding: the number does not vary."""


class Moments:
    """Mean and deviation of each of ``size`` numbers, by one pass over any number of rows.

    Chan's update of Welford's algorithm, in the longest floats: no cancellation where the mean is far from zero, and no
    squares of tiny numbers that vanish.

    Args:
        size: How many numbers a row has.

    Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983, equation 1.5.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self._mean, self._squares = np.zeros(size, np.longdouble), np.zeros(size, np.longdouble)

    def add(self, rows: np.ndarray) -> None:
        """Rows (n, size), at least one."""
        rows = rows.astype(np.longdouble)
        mean, count = rows.mean(0), self.count + len(rows)
        delta = mean - self._mean
        self._squares += np.square(rows - mean).sum(0) + np.square(delta) * (self.count * len(rows) / count)
        self._mean += delta * (len(rows) / count)
        self.count = count

    @property
    def mean(self) -> list[float]:
        return self._mean.astype(np.float64).tolist()

    @property
    def std(self) -> list[float]:
        """1 for a number that does not vary."""
        deviation = np.sqrt(self._squares / max(self.count, 1)).astype(np.float64)
        return np.where(deviation > _ROUNDING * np.abs(self._mean), deviation, 1.0).tolist()


def given_moments(
    size: int, mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> tuple[list[float] | None, list[float] | None]:
    """Mean and deviation as a user gives them, one for all numbers or one for each -> one for each; None stays.

    Raises:
        ConfigError: They are not as many, not finite, or a deviation is not above 0.
    """
    means, deviations = _numbers("mean", mean, size), _numbers("std", std, size)
    if deviations is not None and min(deviations) <= 0:
        raise ConfigError(f"std: {min(deviations)} is not above 0")
    return means, deviations


def _numbers(name: str, value: float | Sequence[float] | None, size: int) -> list[float] | None:
    if value is None:
        return None
    numbers = [float(value)] * size if isinstance(value, int | float) else [float(x) for x in value]
    if len(numbers) != size or not np.isfinite(numbers).all():
        raise ConfigError(f"{name}: {len(numbers)} numbers given; one, or {size} finite ones, are right")
    return numbers
