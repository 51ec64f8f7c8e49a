"""Intervals and significance by resampling rows, of which those of one cluster depend on each other.

A cluster is named by an integer; rows of one concept are one cluster. Without clusters each row is one.
"""

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

LEVEL = 0.95
"""Of all intervals."""
_FEW_CLUSTERS = 3
"""Clusters with a 0, or with a 1, from which on they show how alike the rows of a cluster are."""


def bootstrap_interval(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    *,
    seed: int = 0,
    draws: int = 2000,
) -> tuple[float, float]:
    """95 % interval of ``values.sum() / weights.sum()`` under resampling of the clusters.

    The percentiles are those that make the interval of a mean as wide as Student's, as a bootstrap of few clusters is
    too narrow.

    Args:
        values: (n,) numerators of the rows, n at least 1.
        weights: (n,) denominators, 1 each if not given: the interval is then that of the mean.
        clusters: (n,) the cluster of each row.
        seed: Seed of the draws.
        draws: Number of resampled sets.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 13.3; of clusters: Davison and
    Hinkley, "Bootstrap methods and their application", 1997, section 3.8; the percentiles: Hesterberg, "What teachers
    should know about the bootstrap", 2015, section 5.3.
    """
    values, weights = _sums(clusters, values, np.ones(len(values)) if weights is None else weights)
    index = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(_ratio(values[index], weights[index]), _percentiles(len(values)))
    return float(low), float(high)


def share_interval(
    values: np.ndarray, clusters: np.ndarray | None = None, *, variance: float | None = None
) -> tuple[float, float]:
    """95 % interval of the mean of values from 0 to 1, such as right or wrong, by Wilson's method.

    The number of rows is divided by the design effect of the clusters; where hardly any cluster has a 0, or a 1, which
    does not show it, the number of clusters counts.

    Args:
        values: (n,) from 0 to 1, n at least 1.
        clusters: (n,) the cluster of each row.
        variance: Of the mean, if more than the clusters tells it.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927; with clusters: Dean
    and Pagano, "Evaluating confidence interval methods for binomial proportions in clustered surveys", 2015.
    """
    share, rows = float(np.mean(values)), len(values)
    clusters = np.arange(rows) if clusters is None else clusters
    count = len(np.unique(clusters))
    if count < 2:
        return 0.0, 1.0
    variance = variance_of_mean(values, clusters) if variance is None else variance
    size = max(share * (1 - share) / variance, 1.0) if variance > 0 and 0 < share < 1 else count
    if np.isin(values, (0, 1)).all():
        right, rows_of = _sums(clusters, values, np.ones(rows))
        few = min((right > 0).sum(), (right < rows_of).sum()) < _FEW_CLUSTERS
        size = min(size, count if few else rows)
    z = -norm.ppf((1 - LEVEL) / 2) if count == rows else student.isf((1 - LEVEL) / 2, count - 1)
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


def variance_of_mean(values: np.ndarray, clusters: np.ndarray) -> float:
    """The variance of a mean of values that depend on each other within a cluster.

    Args:
        values: (n,), shares from 0 to 1.
        clusters: (n,) the cluster of each row; if all differ, the result is the sample variance over n.

    Source: Liang and Zeger, "Longitudinal data analysis using generalized linear models", 1986, equation 2.
    """
    (sums,) = _sums(clusters, values - values.mean())
    if len(sums) < 2:
        return 0.25  # the most that a share can vary, as one cluster says nothing of others
    return float(len(sums) / (len(sums) - 1) * (sums**2).sum() / len(values) ** 2)


def jackknife_interval(
    statistic: Callable[[np.ndarray], float], clusters: np.ndarray, *, parts: int = 20, pairs: bool = False
) -> tuple[float, float, float]:
    """A statistic of a whole set, which has no value per row, and its 95 % interval.

    One part of the clusters after another is left out, so that no row comes twice, as it would in a bootstrap; a set
    with repetitions is less diverse than one without. The variance is too great for statistics that are far from sums
    over rows, such as numbers of distinct values. What two parts do together tells the excess, which is of chance as
    well where a statistic jumps: half of it is taken away, so that the result is between the two.

    Args:
        statistic: Of the rows at places (m,), which do not repeat.
        clusters: (n,) the cluster of each row.
        parts: Most parts.
        pairs: Whether two parts are left out as well.

    Source: Shao and Wu, "A general theory for jackknife variance estimation", 1989; pairs: Efron and Stein, "The
    jackknife estimate of variance", 1981, section 4.
    """
    value, part = statistic(np.arange(len(clusters))), parts_of(clusters, parts)
    count = int(part.max()) + 1
    if count < 2:
        return value, value, value
    one = np.array([statistic(np.flatnonzero(part != number)) for number in range(count)])
    variance = (count - 1) / count * float(((one - one.mean()) ** 2).sum())
    if pairs and count > 2:
        both = {(i, j): statistic(np.flatnonzero((part != i) & (part != j))) for i, j in combinations(range(count), 2)}
        variance -= min(variance_of_pairs(value, one, both), variance / 2) / 2
    half = float(student.isf((1 - LEVEL) / 2, count - 1)) * variance**0.5
    return value, value - half, value + half


def variance_of_pairs(value: float, one: np.ndarray, both: Mapping[tuple[int, int], float]) -> float:
    """The variance of what two parts of a set do to a statistic that neither does alone.

    Args:
        value: The statistic of the whole set.
        one: (n,) what it is without each part.
        both: What it is without each pair of parts.

    Source: Efron and Stein, "The jackknife estimate of variance", 1981, equation 4.3.
    """
    count = len(one)
    found = np.array(
        [count * value - (count - 1) * (one[i] + one[j]) + (count - 2) * rest for (i, j), rest in both.items()]
    )
    return float(((found - found.mean()) ** 2).sum()) / (count * (count - 1))


def resampled_interval(
    statistic: Callable[[np.ndarray], float], clusters: np.ndarray, *, draws: int = 400
) -> tuple[float, float, float]:
    """A statistic of a whole set that bears repeated rows, such as a median, and its 95 % interval of the bootstrap.

    Args:
        statistic: Of the rows at places (m,), which may repeat.
        clusters: (n,) the cluster of each row.
        draws: Number of resampled sets.

    Source: Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8.
    """
    names, places = np.unique(clusters, return_inverse=True)
    order, random = np.argsort(places, kind="stable"), np.random.default_rng(0)
    rows = np.split(order, np.cumsum(np.bincount(places))[:-1])
    found = [
        statistic(np.concatenate([rows[i] for i in random.integers(len(names), size=len(names))])) for _ in range(draws)
    ]
    low, high = np.quantile(found, _percentiles(len(names)))
    value = statistic(np.arange(len(clusters)))
    return value, min(float(low), value), max(float(high), value)


def distance_interval(value: float, at_zero: float, beyond: float, clusters: int) -> tuple[float, float]:
    """95 % interval of a squared distance of distributions, whose estimate has no bias.

    The variance grows with the distance, as that of a share does: from what it is for two equal distributions, in a
    line to what it is at the estimate. The interval holds the distances that are not refuted, as Wilson's does.

    Args:
        value: The estimate, which may be negative.
        at_zero: Variance of the part that two equal distributions have as well.
        beyond: Variance of the rest.
        clusters: Number of clusters, or of parts, by which the variances were estimated; at least 2.

    Source: the variance of U-statistics, Hoeffding, "A class of statistics with asymptotically normal distribution",
    1948, equation 5.13; for distances: Gretton et al., "A kernel two-sample test", 2012, section 5.
    """
    z = float(student.isf((1 - LEVEL) / 2, clusters - 1))
    least = z * at_zero**0.5
    if value <= 0:
        return value - least, value + z * (at_zero + beyond) ** 0.5
    # The distances d with (value - d)^2 = z^2 (at_zero + slope d).
    slope = beyond / max(value, at_zero**0.5, 1e-300)
    middle = value + z**2 * slope / 2
    half = max(middle**2 - value**2 + least**2, 0.0) ** 0.5
    low = middle - half
    return (low if low > 0 else value - least), middle + half


def paired_difference(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    clusters: np.ndarray | None = None,
    *,
    seed: int = 0,
    draws: int = 4000,
) -> tuple[float, float, float, float]:
    """The second's mean less the first's on the same rows, its 95 % interval, and the two-sided p of no difference.

    The interval resamples clusters. p is the share of random exchanges, in which each cluster's results change places
    or not, that give a difference as great: it is exact however few the rows are.

    Args:
        first: Values and weights (n,) of the rows.
        second: Values and weights (n,) of the same rows.
        clusters: (n,) the cluster of each row.
        seed: Seed of the draws.
        draws: Number of resampled sets, and of exchanges; p is at least about 1 / draws.

    Source: Fisher, "The design of experiments", 1935, section 21; for metrics: Noreen, "Computer-intensive methods for
    testing hypotheses", 1989.
    """
    a, b, c, d = _sums(clusters, *first, *second)
    difference = _ratio(c, d) - _ratio(a, b)
    index = np.random.default_rng(seed).integers(len(a), size=(draws, len(a)))
    found = _ratio(c[index], d[index]) - _ratio(a[index], b[index])
    low, high = np.quantile(found, _percentiles(len(a)))
    swapped = np.random.default_rng([seed, 1]).integers(2, size=(draws, len(a))).astype(float)
    moved, weight = swapped @ (c - a), swapped @ (d - b)
    one, other = (a.sum() + moved) / (b.sum() + weight), (c.sum() - moved) / (d.sum() - weight)
    as_great = np.abs(other - one) >= abs(float(difference)) * (1 - 1e-9)
    return float(difference), float(low), float(high), float((1 + as_great.sum()) / (draws + 1))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Probabilities (n,) of n tests, corrected so that each bounds the chance of any false alarm.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def parts_of(clusters: np.ndarray, most: int) -> np.ndarray:
    """(n,) the part, from 0, to which each row's cluster belongs, of at most so many parts with as many clusters."""
    names, places = np.unique(clusters, return_inverse=True)
    return (np.random.default_rng(0).permutation(len(names)) % min(most, len(names)))[places]


def _sums(clusters: np.ndarray | None, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sums of values (n,) over each cluster."""
    if clusters is None:
        return values
    _, places = np.unique(clusters, return_inverse=True)
    return tuple(np.bincount(places, each) for each in values)


def _ratio(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return values.sum(-1) / np.maximum(weights.sum(-1), 1e-12)


def _percentiles(clusters: int) -> tuple[float, float]:
    """The shares between which draws of so many clusters are as wide as Student's interval."""
    if clusters < 2:
        return 0.0, 1.0
    tail = norm.cdf(-((clusters / (clusters - 1)) ** 0.5) * student.isf((1 - LEVEL) / 2, clusters - 1))
    return float(tail), float(1 - tail)
