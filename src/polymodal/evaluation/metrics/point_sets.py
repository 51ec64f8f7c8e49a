"""How like two sets of shapes are, each shape a set of points: by the Chamfer distance.

Source: Achlioptas et al., "Learning representations and generative models for 3D point clouds", 2018 (coverage and
minimum matching distance); Yang et al., "PointFlow", 2019, section 5.1 (1-nearest-neighbour accuracy).
"""

import torch
from torch import Tensor

from polymodal.errors import DataError

_PAIRS = 1 << 25
"""Distances of points that are held at a time."""


def chamfer_distance(first: Tensor, second: Tensor) -> Tensor:
    """(n,) of shapes (n, 3, P) and (n, 3, Q): the mean squared distance of each point to the nearest of the other.

    Both directions are added.

    Raises:
        DataError: The shapes do not fit.
    """
    _check(first, second)
    step = max(1, _PAIRS // (first.shape[2] * second.shape[2]))
    parts = zip(first.split(step), second.split(step), strict=True)
    return torch.cat([_chamfer(one, other) for one, other in parts]) if len(first) else first.new_zeros(0)


def chamfer_matrix(first: Tensor, second: Tensor) -> Tensor:
    """(n, m) Chamfer distances of shapes (n, 3, P) and (m, 3, Q).

    Raises:
        DataError: The shapes do not fit.
    """
    _check(first, second[:1].expand(len(first), -1, -1))
    step = max(1, _PAIRS // (first.shape[2] * second.shape[2]))
    rows = []
    for one in first:
        parts = [_chamfer(one.expand(len(part), -1, -1), part) for part in second.split(step)]
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def nearest_neighbour_accuracy(real: Tensor, between: Tensor, made: Tensor) -> float:
    """Share of all shapes whose nearest other one is of their own set: 0.5 if the sets cannot be told apart.

    Args:
        real: (n, n) distances of real shapes.
        between: (n, m) distances of real shapes to generated ones.
        made: (m, m) distances of generated shapes.
    """
    top = torch.cat([real.clone().fill_diagonal_(torch.inf), between], dim=1)
    bottom = torch.cat([between.T, made.clone().fill_diagonal_(torch.inf)], dim=1)
    is_real = torch.arange(len(top) + len(bottom), device=top.device) < len(top)
    nearest = is_real[torch.cat([top, bottom]).argmin(1)]
    return float((nearest == is_real).double().mean())


def matching_distance(between: Tensor) -> float:
    """Mean distance of each real shape to the nearest generated one, of distances (n, m): less is better."""
    return float(between.amin(1).mean())


def matched_share(between: Tensor) -> float:
    """Share of real shapes that are the nearest of some generated one, of distances (n, m): the coverage."""
    return len(between.argmin(0).unique()) / len(between)


def _chamfer(first: Tensor, second: Tensor) -> Tensor:
    squared = torch.cdist(first.mT.float(), second.mT.float()).square()
    return squared.amin(2).mean(1) + squared.amin(1).mean(1)


def _check(first: Tensor, second: Tensor) -> None:
    if first.dim() != 3 or second.dim() != 3 or first.shape[:2] != second.shape[:2] or first.shape[1] != 3:
        raise DataError(f"shapes {tuple(first.shape)} and {tuple(second.shape)}; (n, 3, points) of both is right")
