"""Deep canonical correlation: two fields' codes are to be as correlated as can be."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from polymodal.alignment.base import Alignment, Projections, gathered
from polymodal.types import Losses


class DeepCCA(Alignment):
    """1 - (sum of the canonical correlations) / size, of the rows of the batch that have both fields.

    It needs no negatives, but batches larger than ``size``: with fewer rows everything correlates.

    Source: Andrew et al., "Deep canonical correlation analysis", 2013, section 3.

    Args:
        fields: Names, in order.
        width: Width of the encodings.
        size: Size of the common space.
        weight: Weight of the loss.
        ridge: Added to the diagonals of the covariances.
    """

    def __init__(
        self,
        fields: Sequence[str],
        width: int,
        *,
        size: PositiveInt = 16,
        weight: NonNegativeFloat = 0.5,
        ridge: PositiveFloat = 1e-2,
    ):
        super().__init__()
        self.weight, self.size, self.ridge = weight, size, ridge
        self.project = Projections(fields, width, size)

    def forward(
        self,
        encodings: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        contents: Mapping[str, Tensor] | None = None,
    ) -> Losses:
        codes = self.project(encodings, present)
        total = next(iter(encodings.values())).new_zeros(len(next(iter(encodings.values()))))
        pairs = list(combinations(codes, 2))
        for one, other in pairs:
            both = present[one] & present[other]
            weight = gathered(both[:, None])[0].to(total.dtype)
            correlation = self._correlation(gathered(codes[one])[0], gathered(codes[other])[0], weight)
            total = total + both * (1 - correlation / self.size) / len(pairs)
        return {"cca": self.weight * total}

    def _correlation(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Sum of the canonical correlations of x and y (N, size) over the rows where ``weight`` (N, 1) is 1."""
        count = weight.sum().clamp(min=2)
        x, y = (weight * (z - (weight * z).sum(0) / count) for z in (x, y))
        eye = self.ridge * torch.eye(self.size, device=x.device)
        # Whitening by a triangular root instead of the symmetric one turns the axes and leaves singular values alone.
        roots = [torch.linalg.cholesky((z.T @ z).float() / (count - 1) + eye) for z in (x, y)]
        between = torch.linalg.solve_triangular(roots[0], (x.T @ y).float() / (count - 1), upper=False)
        between = torch.linalg.solve_triangular(roots[1], between.T, upper=False)
        return torch.linalg.matrix_norm(between, ord="nuc")
