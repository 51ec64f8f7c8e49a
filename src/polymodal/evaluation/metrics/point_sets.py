"""How like two sets of shapes are, each shape a set of points: by the Chamfer distance.

Source: Achlioptas et al., "Learning representations and generative models for 3D point clouds", 2018 (coverage and
minimum matching distance); Yang et al., "PointFlow", 2019, section 5.1 (1-nearest-neighbour accuracy).
"""

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from polymodal.errors import DataError


def chamfer_distance(first: Tensor, second: Tensor) -> Tensor:
    """(n,) of shapes (n, 3, P) and (n, 3, Q): the mean squared distance of each point to the nearest of the other.

    Both directions are added.

    Raises:
        DataError: The shapes do not fit.
    """
    _check(first, second)
    return _tensor([_chamfer(one, other) for one, other in zip(_trees(first), _trees(second), strict=True)], first)


def chamfer_matrix(first: Tensor, second: Tensor) -> Tensor:
    """(n, m) Chamfer distances of shapes (n, 3, P) and (m, 3, Q).

    Raises:
        DataError: The shapes do not fit.
    """
    _check(first, second[:1].expand(len(first), -1, -1))
    others = _trees(second)
    return _tensor([[_chamfer(one, other) for other in others] for one in _trees(first)], first)


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


def _trees(shapes: Tensor) -> list[KDTree]:
    return [KDTree(points) for points in shapes.mT.double().cpu().numpy()]


def _chamfer(first: KDTree, second: KDTree) -> float:
    return sum(float(np.square(one.query(other.data)[0]).mean()) for one, other in ((first, second), (second, first)))


def _tensor(distances: list[float] | list[list[float]], like: Tensor) -> Tensor:
    return torch.tensor(distances, dtype=torch.float32, device=like.device)


def _check(first: Tensor, second: Tensor) -> None:
    if first.dim() != 3 or second.dim() != 3 or first.shape[:2] != second.shape[:2] or first.shape[1] != 3:
        raise DataError(f"shapes {tuple(first.shape)} and {tuple(second.shape)}; (n, 3, points) of both is right")
