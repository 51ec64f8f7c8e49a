"""The pooled vectors of all fields side by side, through one small network."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from polymodal.fusion.base import Fusion
from polymodal.nn.layers import Linear, layer_norm
from polymodal.types import Context, Tokens


class ConcatenationFusion(Fusion):
    """Each field's mean token, or a learned vector where the field is not visible, concatenated.

    The oldest fusion, and the one that tells least: the context is a single token.

    Source: Ngiam et al., "Multimodal deep learning", 2011.

    Args:
        fields: Names, in order.
        width: Width of the tokens.
        hidden_size: Width of the hidden layer; twice ``width`` if not given.
    """

    def __init__(self, fields: Sequence[str], width: int, *, hidden_size: PositiveInt | None = None):
        super().__init__()
        self.fields = tuple(fields)
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.randn(width) * 0.02) for name in fields})
        self.proj_in = Linear(len(fields) * width, hidden_size or 2 * width, bias=True)
        self.proj_out = Linear(hidden_size or 2 * width, width, bias=True)
        self.norm = layer_norm(width)

    def forward(
        self, tokens: Mapping[str, Tokens], rows: int, device: torch.device, keys: Tensor | None = None
    ) -> Context:
        parts = []
        for name in self.fields:
            part = self.absent[name].expand(rows, -1)
            if name in tokens:
                part = torch.where(tokens[name].seen[:, None], tokens[name].mean, part)
            parts.append(part)
        pooled = self.norm(self.proj_out(F.silu(self.proj_in(torch.cat(parts, dim=1)))))
        return Context(pooled[:, None], torch.ones(rows, 1, dtype=torch.bool, device=device), pooled)
