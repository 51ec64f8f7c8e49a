"""Active units: how many dimensions of a latent differ from row to row."""

from torch import Tensor


def active_units(means: Tensor, least: float = 0.01) -> int:
    """Number of dimensions whose variance over the rows is above ``least``.

    Source: Burda et al., "Importance weighted autoencoders", 2016, section 5.1.

    Args:
        means: Means of the posterior, (n, D).
        least: Variance.
    """
    return int((means.double().var(0) > least).sum())
