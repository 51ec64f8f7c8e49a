"""Kernel distance: how far samples are from real data as a set, without a bias at any number of samples."""

import numpy as np
import torch
from torch import Tensor

from polymodal.evaluation.metrics.distributions import checked
from polymodal.evaluation.metrics.intervals import distance_interval


def kernel_distance(real: Tensor, made: Tensor, clusters: np.ndarray) -> tuple[float, float, float]:
    """The squared maximum mean discrepancy with the kernel (x y / F + 1)^3, and its 95 % interval.

    It is 0 for samples of the real distribution; with Inception's features it is KID. Only pairs of rows of different
    clusters count, as a sample and the real value of its own row are no independent draws. It may be negative.

    Args:
        real: (n, F) features of the real values of some rows.
        made: (n, F) features of a sample for each of these rows.
        clusters: (n,) the cluster of each row; at least two.

    Source: Gretton et al., "A kernel two-sample test", 2012, equation 4; the kernel: Bińkowski et al., "Demystifying
    MMD GANs", 2018, section 4.

    Raises:
        DataError: A set has fewer than two rows, or they have different widths.
    """
    x, y = (values / values.shape[1] ** 0.5 for values in checked(real, made))
    across = _cubed(x @ y.T)
    pairs = _cubed(x @ x.T) + _cubed(y @ y.T) - across - across.T
    _, places = np.unique(clusters, return_inverse=True)
    index, count = torch.from_numpy(places), int(places.max()) + 1
    sums = torch.zeros(count, len(x), dtype=torch.float64).index_add_(0, index, pairs)
    sums = torch.zeros(count, count, dtype=torch.float64).index_add_(1, index, sums).fill_diagonal_(0)
    sizes = torch.bincount(index).double()
    weights = torch.outer(sizes, sizes).fill_diagonal_(0)
    total = float(weights.sum())
    value = float(sums.sum()) / total
    apart = sums - value * weights  # its mean is 0; a row's sum is what the row's cluster adds
    alone, together = float(apart.square().sum()), float(apart.sum(1).square().sum())
    # Where there are few clusters, the sums vary less than they should, as each is apart from the mean of all of them.
    together *= count * (count - 1) / max(count - 2, 1) ** 2
    at_zero, beyond = 2 * alone / total**2, 4 * max(together - alone, 0.0) / total**2
    return value, *distance_interval(value, at_zero, beyond, count)


def _cubed(product: Tensor) -> Tensor:
    base = product + 1
    return base * base * base  # far quicker than a power
