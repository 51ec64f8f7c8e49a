"""How far samples are from real data as a set, in any features: the Fréchet distance, precision and recall.

Shapes: real (N, F), made (M, F), float; distances are computed in float64.
"""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from polymodal.errors import DataError
from polymodal.evaluation.metrics.intervals import (
    distance_interval,
    parts_of,
    share_interval,
    variance_of_mean,
    variance_of_pairs,
)


def frechet_distance(real: Tensor, made: Tensor) -> float:
    """Squared distance of the Gaussians that fit two sets of features: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    With Inception's features it is FID. It falls with the number of samples, so compare equal numbers.

    Source: Heusel et al., "GANs trained by a two time-scale update rule", 2017, equation 6.

    Raises:
        DataError: A set has fewer than two rows, or they have different widths.
    """
    first, second = (_Moments.of(values) for values in checked(real, made))
    return first.distance(second)


def extrapolated_frechet_distance(
    real: Tensor, made: Tensor, clusters: np.ndarray, *, parts: int = 12
) -> tuple[float, float, float]:
    """The Fréchet distance of endlessly many samples, and its 95 % interval.

    The distance of n rows is too great by about a constant over n. What it loses where a part of the rows is left out
    tells the constant, and how much it varies; what it loses where two are, the variance of two equal distributions.

    Args:
        real: (n, F) features of the real values of some rows, n well above F.
        made: (n, F) features of a sample for each of these rows.
        clusters: (n,) the cluster of each row.
        parts: Most parts that are left out; at least 3.

    Source: in 1 / n, Chong and Forsyth, "Effectively unbiased FID and Inception Score", 2020, section 3; by leaving
    parts out, Quenouille, "Notes on bias in estimation", 1956; the variance, Efron and Stein, "The jackknife estimate
    of variance", 1981, section 4.

    Raises:
        DataError: A set has fewer than two rows, or they have different widths; or there are fewer than 3 clusters.
    """
    real, made = checked(real, made)
    part = torch.from_numpy(parts_of(clusters, parts))
    count = int(part.max()) + 1
    if count < 3:
        raise DataError(f"{count} clusters of rows; at least 3 are needed")
    of_parts = [[_Moments.of(values[part == number]) for number in range(count)] for values in (real, made)]
    every = [_Moments.sum(moments) for moments in of_parts]

    def without(*numbers: int) -> float:
        first, second = (
            whole.less(_Moments.sum([moments[n] for n in numbers])) if numbers else whole
            for whole, moments in zip(every, of_parts, strict=True)
        )
        return first.distance(second)

    whole, one = without(), np.array([without(number) for number in range(count)])
    value = count * whole - (count - 1) * float(one.mean())
    at_zero = variance_of_pairs(whole, one, {(i, j): without(i, j) for i, j in combinations(range(count), 2)})
    in_all = (count - 1) / count * float(((one - one.mean()) ** 2).sum())
    return value, *distance_interval(value, at_zero, max(in_all - 2 * at_zero, 0.0), count)


def precision_and_recall(
    real: Tensor, made: Tensor, clusters: np.ndarray, k: int, *, halves: int = 20
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Symmetric precision, how like real values samples are, and recall, how varied they are, with 95 % intervals.

    A ball reaches from a value to its k-th nearest of its own set. The share of samples within a real value's ball, and
    the share of samples whose own ball holds a real value, are two sides of precision: in many dimensions the one does
    not see samples that are too near the middle, nor the other those that are too far out. The lesser of them is given.
    So it is for recall with the sets exchanged, of which one side is the coverage. Only values of different clusters
    count, as what was made for a row is no independent draw. Both figures depend on the number of rows.

    The variance of a side lies between two estimates, at a third of the way from the second: of halves of the clusters,
    which is too great, as a half has fewer neighbours, and of the rows alone, which is too small, as rows share
    neighbours.

    Args:
        real: (n, F) features of the real values of some rows.
        made: (n, F) features of a sample for each of these rows.
        clusters: (n,) the cluster of each row.
        k: Neighbours within a ball.
        halves: Number of halves; without any, the variance is that of the rows alone.

    Source: Khayatkhoei and AbdAlmageed, "Emergent asymmetry of precision and recall for measuring fidelity and
    diversity of generative models in high dimensions", 2023, section 5; the sides: Kynkäänniemi et al., "Improved
    precision and recall metric", 2019, equation 2, and Naeem et al., "Reliable fidelity and diversity metrics for
    generative models", 2020, equation 4; the halves: Shao and Wu, "A general theory for jackknife variance estimation",
    1989.

    Raises:
        DataError: A set has fewer than two rows, or they have different widths.
    """
    real, made = checked(real, made)
    names, places = np.unique(clusters, return_inverse=True)
    same = torch.from_numpy(places[:, None] == places)
    inner, across, outer = (
        torch.cdist(x, y).masked_fill(same, torch.inf) for x, y in ((real, real), (real, made), (made, made))
    )

    def sides(index: Tensor) -> list[np.ndarray]:
        x, between, y = (distances[index][:, index] for distances in (inner, across, outer))
        (precise, covered_), (recalled, realistic) = _neighbours(x, between, k), _neighbours(y, between.T, k)
        return [precise, realistic, recalled, covered_]

    whole = sides(torch.arange(len(real)))
    variances = np.array([variance_of_mean(side, clusters) for side in whole])
    if halves:
        random, of_halves = np.random.default_rng(0), []
        for _ in range(halves):
            half = np.flatnonzero(np.isin(places, random.permutation(len(names))[: len(names) // 2]))
            of_halves.append([side.mean() for side in sides(torch.from_numpy(half))])
        variances += (np.var(of_halves, axis=0, ddof=1) - variances) / 3
    found = [
        (float(side.mean()), *share_interval(side, clusters, variance=float(variance)))
        for side, variance in zip(whole, variances, strict=True)
    ]
    return min(found[:2]), min(found[2:])


def _neighbours(inner: Tensor, across: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) which values of the other set are in a ball, (n,) which balls have one; from distances within and across."""
    reach = inner.topk(min(k, len(inner)), dim=1, largest=False).values[:, -1:]
    near = (across <= reach) & across.isfinite()
    return near.any(0).double().numpy(), near.any(1).double().numpy()


class _Moments:
    """The number, the sum and the sum of the outer products of some features; those of parts add up."""

    def __init__(self, count: int, sums: Tensor, products: Tensor):
        self.count, self.sums, self.products = count, sums, products

    @classmethod
    def of(cls, values: Tensor) -> "_Moments":
        return cls(len(values), values.sum(0), values.T @ values)

    @classmethod
    def sum(cls, parts: list["_Moments"]) -> "_Moments":
        return cls(
            sum(part.count for part in parts),
            torch.stack([part.sums for part in parts]).sum(0),
            torch.stack([part.products for part in parts]).sum(0),
        )

    def less(self, other: "_Moments") -> "_Moments":
        return _Moments(self.count - other.count, self.sums - other.sums, self.products - other.products)

    def distance(self, other: "_Moments") -> float:
        (first_mean, first), (second_mean, second) = self._gaussian, other._gaussian
        # The eigenvalues of C1 C2 are those of a positive semi-definite matrix; what is below 0 is rounding.
        root = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
        return float((first_mean - second_mean).square().sum() + first.trace() + second.trace() - 2 * root)

    @property
    def _gaussian(self) -> tuple[Tensor, Tensor]:
        mean = self.sums / self.count
        return mean, (self.products - self.count * torch.outer(mean, mean)) / (self.count - 1)


def checked(real: Tensor, made: Tensor, least: int = 2) -> tuple[Tensor, Tensor]:
    """Both sets in float64.

    Raises:
        DataError: A set has fewer than ``least`` rows, or they have different widths.
    """
    if real.dim() != 2 or made.dim() != 2 or real.shape[1] != made.shape[1]:
        raise DataError(f"features of shapes {tuple(real.shape)} and {tuple(made.shape)}; give (N, F) and (M, F)")
    if min(len(real), len(made)) < least:
        raise DataError(f"{len(real)} real rows and {len(made)} samples; at least {least} of each are needed")
    return real.double(), made.double()
