"""Alignment of distributions: the codes of all fields are to have the same distribution."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from polymodal.alignment.base import Alignment, Projections, gathered
from polymodal.types import Losses


class MMD(Alignment):
    """Maximum mean discrepancy between the codes of two fields, with Gaussian kernels of several widths.

    It needs no row that has both fields: rows that have either are compared as sets, so unpaired data count. It does
    not match single rows, and so goes with a loss that does.

    Source: Gretton et al., "A kernel two-sample test", 2012, equation 5 (biased, so that it is never negative); several
    widths: Li et al., "Generative moment matching networks", 2015.

    Args:
        fields: Names, in order.
        width: Width of the encodings.
        size: Size of the common space.
        weight: Weight of the loss.
    """

    SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
    """Of the squared widths, times the mean squared distance of all codes."""

    def __init__(self, fields: Sequence[str], width: int, *, size: PositiveInt = 32, weight: NonNegativeFloat = 0.1):
        super().__init__()
        self.weight = weight
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
            x, y = gathered(codes[one])[0], gathered(codes[other])[0]
            weight = [gathered(present[name][:, None])[0][:, 0].to(x.dtype) for name in (one, other)]
            if not all(w.any() for w in weight):
                continue
            # Each row of x weighs 1 / n and each row of y -1 / m: the discrepancy is a quadratic form.
            signs = torch.cat([weight[0] / weight[0].sum(), -weight[1] / weight[1].sum()])
            both = torch.cat([x, y])
            norms = both.square().sum(1)
            distance = (norms[:, None] + norms - 2 * both @ both.T).clamp(min=0)
            present_rows = torch.cat(weight)
            spread = (present_rows @ distance @ present_rows / present_rows.sum().square()).detach().clamp(min=1e-6)
            kernel = sum(torch.exp(-distance / (scale * spread)) for scale in self.SCALES) / len(self.SCALES)
            discrepancy = signs @ kernel @ signs
            either = present[one] | present[other]
            total = total + either * discrepancy / len(pairs)
        return {"mmd": self.weight * total}
