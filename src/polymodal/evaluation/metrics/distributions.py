"""How far samples are from real data as a set, in any features: the Fréchet distance, precision and coverage.

Shapes: real (N, F), made (M, F), float; distances are computed in float64.
"""

import torch
from torch import Tensor

from polymodal.errors import DataError

_CHUNK = 1024
"""Rows of a distance matrix that are held at a time."""


def frechet_distance(real: Tensor, made: Tensor) -> float:
    """Squared distance of the Gaussians that fit two sets of features: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    With Inception's features it is FID. It falls with the number of samples, so compare equal numbers.

    Source: Heusel et al., "GANs trained by a two time-scale update rule", 2017, equation 6.

    Raises:
        DataError: A set has fewer than two rows, or they have different widths.
    """
    real, made = _checked(real, made)
    difference = real.mean(0) - made.mean(0)
    first, second = (torch.cov(x.T).reshape(x.shape[1], x.shape[1]) for x in (real, made))
    # The eigenvalues of C1 C2 are those of a positive semi-definite matrix; what is below 0 is rounding.
    root = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    return float(difference.square().sum() + first.trace() + second.trace() - 2 * root)


def within(reference: Tensor, made: Tensor, k: int = 5) -> Tensor:
    """(M,) which samples lie in the ball of a reference row (N, F) that reaches to its k-th nearest other row.

    Their share is the precision.

    Source: Kynkäänniemi et al., "Improved precision and recall metric", 2019, equation 2.

    Raises:
        DataError: A set has no rows, or they have different widths.
    """
    reference, made = _checked(reference, made, least=1)
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
    real, made = _checked(real, made, least=1)
    reach = torch.cdist(real, reference.double()).topk(k, dim=1, largest=False).values[:, -1]
    return torch.cdist(real, made).amin(1) <= reach


def _radii(x: Tensor, k: int) -> Tensor:
    """(N,) distance of each row to its k-th nearest other row."""
    parts = [torch.cdist(part, x).topk(k + 1, dim=1, largest=False).values[:, -1] for part in x.split(_CHUNK)]
    return torch.cat(parts)


def _checked(real: Tensor, made: Tensor, least: int = 2) -> tuple[Tensor, Tensor]:
    if real.dim() != 2 or made.dim() != 2 or real.shape[1] != made.shape[1]:
        raise DataError(f"features of shapes {tuple(real.shape)} and {tuple(made.shape)}; give (N, F) and (M, F)")
    if min(len(real), len(made)) < least:
        raise DataError(f"{len(real)} real rows and {len(made)} samples; at least {least} of each are needed")
    return real.double(), made.double()
