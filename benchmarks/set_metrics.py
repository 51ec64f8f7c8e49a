"""KID, precision, recall and coverage of samples as the literature reports them, in any features.

Shapes: real (N, F), made (M, F), float; distances are computed in float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from polymodal.errors import DataError
from polymodal.evaluation.metrics.distributions import covered, within


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
