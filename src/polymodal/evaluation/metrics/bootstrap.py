"""Intervals and significance by resampling the rows."""

from collections.abc import Callable

import numpy as np


def bootstrap_interval(
    values: np.ndarray, weights: np.ndarray | None = None, *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of ``values.sum() / weights.sum()`` under resampling of the rows.

    Args:
        values: (n,) numerators of the rows, n at least 1.
        weights: (n,) denominators, 1 each if not given: the interval is then that of the mean.
        seed: Seed of the draws.
        draws: Number of resampled sets.
        level: Share of the draws within the interval.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 13.3.
    """
    weights = np.ones(len(values)) if weights is None else weights
    index = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    ratios = values[index].sum(1) / np.maximum(weights[index].sum(1), 1e-12)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def set_interval(
    statistic: Callable[[np.ndarray], float],
    value: float,
    rows: int,
    *,
    seed: int = 0,
    draws: int = 40,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of a statistic of a whole set, which has no value per row.

    Repeated rows bias such a statistic (a set with repetitions is less diverse than one without), so the quantiles are
    those of its deviations from the mean over the draws, laid around the value itself.

    Args:
        statistic: Of the rows at places (rows,), which repeat.
        value: Value of all rows.
        rows: Their number.
        seed: Seed of the draws.
        draws: Number of resampled sets.
        level: Share of the draws within the interval.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 10.6 (the estimate of bias).
    """
    random = np.random.default_rng(seed)
    found = np.array([statistic(random.integers(rows, size=rows)) for _ in range(draws)])
    low, high = np.quantile(found - found.mean(), [(1 - level) / 2, (1 + level) / 2])
    return value + min(float(low), 0.0), value + max(float(high), 0.0)


def paired_bootstrap(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], *, seed: int = 0, draws: int = 4000
) -> tuple[float, float, float, float]:
    """The second's mean less the first's on the same rows, its 95 % interval, and the two-sided p of no difference.

    A bootstrap of few rows that differ is too sure of itself, so p is at least the probability that all of them have
    the same sign by chance.

    Args:
        first: Values and weights (n,) of the rows.
        second: Values and weights (n,) of the same rows.
        seed: Seed of the draws.
        draws: Number of resampled sets; p is at least about 2 / draws.

    Source: Koehn, "Statistical significance tests for machine translation evaluation", 2004.
    """
    index = np.random.default_rng(seed).integers(len(first[0]), size=(draws, len(first[0])))

    def ratio(pair: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> np.ndarray:
        return pair[0][rows].sum(-1) / np.maximum(pair[1][rows].sum(-1), 1e-12)

    every = np.arange(len(first[0]))
    difference = float(ratio(second, every) - ratio(first, every))
    found = ratio(second, index) - ratio(first, index)
    low, high = np.quantile(found, [0.025, 0.975])
    below, above = (1 + (found <= 0).sum()) / (draws + 1), (1 + (found >= 0).sum()) / (draws + 1)
    differing = int(((first[0] != second[0]) | (first[1] != second[1])).sum())
    p = max(2 * min(below, above), 2.0 ** (1 - differing))
    return difference, float(low), float(high), float(min(1.0, p))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Probabilities (n,) of n tests, corrected so that each bounds the chance of any false alarm.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected
