"""All products between the features of the fields, in low rank."""

from collections.abc import Mapping, Sequence

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from polymodal.fusion.base import Fusion
from polymodal.nn.layers import Linear, layer_norm
from polymodal.types import Context, Tokens


class TensorFusion(Fusion):
    """h = sum over ranks of the product over visible fields of (1 + W_f^r [mean_f, 1]): the context is a single token.

    A field that is not visible is a factor of 1. It is the contraction of the fields' outer product with a tensor whose
    rank is bounded, so that it costs as much as a few matrices.

    Source: Zadeh et al., "Tensor fusion network", 2017; Liu et al., "Efficient low-rank multimodal fusion", 2018,
    equation 8.

    Args:
        fields: Names, in order.
        width: Width of the tokens.
        rank: Of the tensor.
    """

    def __init__(self, fields: Sequence[str], width: int, *, rank: PositiveInt = 4):
        super().__init__()
        self.fields, self.rank = tuple(fields), rank
        self.factors = nn.ModuleDict({name: Linear(width, rank * width, bias=True) for name in fields})
        self.nothing = nn.Parameter(torch.randn(rank, width) * 0.02 + 1)
        self.norm, self.proj_out = layer_norm(width), Linear(width, width, bias=True)

    def forward(
        self, tokens: Mapping[str, Tokens], rows: int, device: torch.device, keys: Tensor | None = None
    ) -> Context:
        product: Tensor = self.nothing.expand(rows, -1, -1)
        for name in self.fields:
            if name in tokens:
                factor = 1 + self.factors[name](tokens[name].mean).view(rows, self.rank, -1)  # products start near 1
                product = torch.where(tokens[name].seen[:, None, None], product * factor, product)
        pooled = self.proj_out(self.norm(product.sum(1)))
        return Context(pooled[:, None], torch.ones(rows, 1, dtype=torch.bool, device=device), pooled)
