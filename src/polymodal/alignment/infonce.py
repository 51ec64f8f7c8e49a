"""Contrastive alignment: each field of a row must find the row's other fields among those of all rows."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from polymodal.alignment.base import Alignment, Projections, gathered, twins
from polymodal.types import Losses


class InfoNCE(Alignment):
    """Symmetric cross-entropy over the rows of the batch, of all processes, with a learned temperature.

    Rows of which either field has the same value are no negatives of one another: each is as right as the other.

    It gives the encoders a strong gradient from the first step, long before the heads do.

    Source: van den Oord et al., "Representation learning with contrastive predictive coding", 2018; symmetric and with
    a learned temperature: Radford et al. (CLIP), 2021.

    Args:
        fields: Names, in order.
        width: Width of the encodings.
        size: Size of the common space.
        weight: Weight of the loss.
        temperature: At the start.
    """

    searchable = True

    def __init__(
        self,
        fields: Sequence[str],
        width: int,
        *,
        size: PositiveInt = 128,
        weight: NonNegativeFloat = 0.5,
        temperature: PositiveFloat = 0.1,
    ):
        super().__init__()
        self.weight = weight
        self.project = Projections(fields, width, size)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    def forward(
        self,
        encodings: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        contents: Mapping[str, Tensor] | None = None,
    ) -> Losses:
        codes = {name: functional.normalize(code, dim=1) for name, code in self.project(encodings, present).items()}
        scale = self.log_scale.clamp(max=math.log(100)).exp()
        total = next(iter(encodings.values())).new_zeros(len(next(iter(encodings.values()))))
        pairs = list(combinations(codes, 2))
        for one, other in pairs:
            both = present[one] & present[other]
            everywhere, offset = gathered(both[:, None])
            match = torch.arange(len(both), device=both.device) + offset
            others = everywhere.T if (same := twins(contents, (one, other), match)) is None else everywhere.T & ~same
            for query, target in ((one, other), (other, one)):
                logits = scale * codes[query] @ gathered(codes[target])[0].T
                logits = logits.masked_fill(~others, torch.finfo(logits.dtype).min)
                loss = functional.cross_entropy(logits, match, reduction="none")
                total = total + torch.where(both, loss, 0) / (2 * len(pairs))
        return {"infonce": self.weight * total}
