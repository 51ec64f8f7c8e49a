"""Contrastive alignment that classifies every pair of rows by itself."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from polymodal.alignment.base import Alignment, Projections, gathered, twins
from polymodal.types import Losses


class Sigmoid(Alignment):
    """-log sigmoid(z_ij (scale x_i y_j + bias)) over all pairs of rows, z = 1 for two fields of one row, else -1.

    Pairs of rows of which either field has the same value are left out: whether they belong together is not known.

    There is no sum over the batch within the logarithm, so it is as good with few rows.

    Source: Zhai et al., "Sigmoid loss for language image pre-training", 2023, equation 1.

    Args:
        fields: Names, in order.
        width: Width of the encodings.
        size: Size of the common space.
        weight: Weight of the loss.
    """

    searchable = True

    def __init__(self, fields: Sequence[str], width: int, *, size: PositiveInt = 128, weight: NonNegativeFloat = 0.5):
        super().__init__()
        self.weight = weight
        self.project = Projections(fields, width, size)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-10.0))  # most pairs are of different rows

    def forward(
        self,
        encodings: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        contents: Mapping[str, Tensor] | None = None,
    ) -> Losses:
        codes = {name: functional.normalize(code, dim=1) for name, code in self.project(encodings, present).items()}
        total = next(iter(encodings.values())).new_zeros(len(next(iter(encodings.values()))))
        pairs = list(combinations(codes, 2))
        for one, other in pairs:
            both = present[one] & present[other]
            everywhere, offset = gathered(both[:, None])
            match = torch.arange(len(both), device=both.device) + offset
            others = everywhere.T if (same := twins(contents, (one, other), match)) is None else everywhere.T & ~same
            logits = self.log_scale.exp() * codes[one] @ gathered(codes[other])[0].T + self.bias
            sign = -torch.ones_like(logits)
            sign[torch.arange(len(both), device=both.device), match] = 1
            loss = -functional.logsigmoid(sign * logits).masked_fill(~others, 0).sum(1)
            total = total + torch.where(both, loss, 0) / len(pairs)
        return {"sigmoid": self.weight * total}
