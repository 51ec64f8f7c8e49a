"""KID, precision, recall and coverage of samples as the literature reports them, in any features.

Shapes: real (N, F), made (M, F), float; distances are computed in float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from polymodal.errors import DataError
from polymodal.evaluation.metrics.distributions import checked

_CHUNK = 1024
"""Rows of a distance matrix that are held at a time."""


def kernel_distance(real: Tensor, made: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x y / F + 1)^3, averaged over random subsets.

    With Inception's features it is KID.

    Source: Bińkowski et al., "Demystifying MMD GANs", 2018, section 4.

    Args:
        real: (N, F).
        made: (M, F).
        subsets: Number of subsets.
        size: Rows of a subset, at most those that there are.
        seed: Of the choice of rows.
    """
    real, made = real.double(), made.double()
    size = min(size, len(real), len(made))
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for _ in range(subsets):
        x = real[torch.randperm(len(real), generator=generator)[:size]]
        y = made[torch.randperm(len(made), generator=generator)[:size]]
        alike = [(_kernel(a, a).sum() - _kernel(a, a).trace()) / (size * (size - 1)) for a in (x, y)]
        total += float(sum(alike) - 2 * _kernel(x, y).mean())
    return total / subsets


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


@dataclass(frozen=True)
class Neighbours:
    """How two sets lie among each other.

    Attributes:
        precision: Share of samples that lie within the real data.
        recall: Share of real rows that lie within the samples: low when modes are missing.
        coverage: Share of real rows whose neighbourhood holds a sample.
    """

    precision: float
    recall: float
    coverage: float


def neighbours(real: Tensor, made: Tensor, k: int = 5) -> Neighbours:
    """Precision, recall and coverage, by balls that reach to the k-th nearest neighbour of their own set.

    Source: Kynkäänniemi et al., "Improved precision and recall metric", 2019; Naeem et al., "Reliable fidelity and
    diversity metrics for generative models", 2020.

    Raises:
        DataError: A set has no more than ``k`` rows, or they have different widths.
    """
    if min(len(real), len(made)) <= k:
        raise DataError(f"{len(real)} real rows and {len(made)} samples; at least {k + 1} of each are needed")
    shares = within(real, made, k), within(made, real, k), covered(real, made, real, k + 1)
    return Neighbours(*(float(share.double().mean()) for share in shares))


def within(reference: Tensor, made: Tensor, k: int = 5) -> Tensor:
    """(M,) which samples lie in the ball of a reference row (N, F) that reaches to its k-th nearest other row.

    Their share is the precision.

    Source: Kynkäänniemi et al., "Improved precision and recall metric", 2019, equation 2.

    Raises:
        DataError: A set has no rows, or they have different widths.
    """
    reference, made = checked(reference, made, least=1)
    radius = _radii(reference, k)
    parts = zip(reference.split(_CHUNK), radius.split(_CHUNK), strict=True)
    return torch.stack([(torch.cdist(part, made) <= reach[:, None]).any(0) for part, reach in parts]).any(0)


def covered(real: Tensor, made: Tensor, reference: Tensor, k: int = 5) -> Tensor:
    """(n,) which real rows have a sample within the distance of their k-th nearest reference row (N, F).

    Their share is the coverage where the real rows themselves, each its own nearest, are the reference, with k + 1.

    Source: Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020, equation 4.

    Raises:
        DataError: A set has no rows, or they have different widths.
    """
    real, made = checked(real, made, least=1)
    reach = torch.cdist(real, reference.double()).topk(k, dim=1, largest=False).values[:, -1]
    return torch.cdist(real, made).amin(1) <= reach


def _radii(x: Tensor, k: int) -> Tensor:
    """(N,) distance of each row to its k-th nearest other row."""
    parts = [torch.cdist(part, x).topk(k + 1, dim=1, largest=False).values[:, -1] for part in x.split(_CHUNK)]
    return torch.cat(parts)
