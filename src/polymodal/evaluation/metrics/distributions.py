"""How far samples are from real data as a whole, in any features: Fréchet and kernel distances, precision, recall.

Shapes: real (N, F), made (M, F), float; distances are computed in float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from polymodal.errors import DataError

_CHUNK = 1024  # rows of a distance matrix that are held at a time


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

    Raises:
        DataError: A set has fewer than two rows, or they have different widths.
    """
    real, made = _checked(real, made)
    size = min(size, len(real), len(made))
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for _ in range(subsets):
        x = real[torch.randperm(len(real), generator=generator)[:size]]
        y = made[torch.randperm(len(made), generator=generator)[:size]]
        within = [(_kernel(a, a).sum() - _kernel(a, a).trace()) / (size * (size - 1)) for a in (x, y)]
        total += float(sum(within) - 2 * _kernel(x, y).mean())
    return total / subsets


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


@dataclass(frozen=True)
class Neighbours:
    """How two sets lie among each other.

    Attributes:
        precision: Share of samples that lie within the real data.
        recall: Share of real rows that lie within the samples: low when modes are missing.
        density: As precision, but counted by how many real neighbourhoods a sample is in; may exceed 1.
        coverage: Share of real rows whose neighbourhood holds a sample.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbours(real: Tensor, made: Tensor, k: int = 5) -> Neighbours:
    """Precision, recall, density and coverage, by balls that reach to the k-th nearest neighbour of their own set.

    Source: Kynkäänniemi et al., "Improved precision and recall metric", 2019; Naeem et al., "Reliable fidelity and
    diversity metrics for generative models", 2020.

    Raises:
        DataError: A set has no more than ``k`` rows, or they have different widths.
    """
    real, made = _checked(real, made, least=k + 1)
    real_radius, made_radius = _radii(real, k), _radii(made, k)
    precise = torch.zeros(len(made), dtype=torch.bool)
    density, recalled, covered = 0.0, [], []
    for part, radius in zip(real.split(_CHUNK), real_radius.split(_CHUNK), strict=True):
        distance = torch.cdist(part, made)
        inside = distance <= radius[:, None]
        precise |= inside.any(0)
        density += float(inside.sum())
        recalled.append((distance <= made_radius).any(1))
        covered.append(distance.amin(1) <= radius)
    return Neighbours(
        float(precise.double().mean()),
        float(torch.cat(recalled).double().mean()),
        density / (k * len(made)),
        float(torch.cat(covered).double().mean()),
    )


def within(reference: Tensor, made: Tensor, k: int = 5) -> Tensor:
    """Which samples (M,) lie in the ball of a reference row (N, F); their share is the precision of ``neighbours``.

    Raises:
        DataError: As ``neighbours``.
    """
    reference, made = _checked(reference, made, least=1)
    radius = _radii(reference, k)
    parts = zip(reference.split(_CHUNK), radius.split(_CHUNK), strict=True)
    return torch.stack([(torch.cdist(part, made) <= own[:, None]).any(0) for part, own in parts]).any(0)


def covered(real: Tensor, made: Tensor, reference: Tensor, k: int = 5) -> Tensor:
    """Which real rows (n,) have a sample within the distance of their k-th nearest reference row (N, F).

    With the real rows themselves as reference, each its own nearest, k + 1 gives the coverage of ``neighbours``.

    Raises:
        DataError: As ``neighbours``.
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
