"""A gate for each field decides how much of it the context is made of."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polymodal.fusion.base import Fusion
from polymodal.nn.layers import Linear
from polymodal.types import Context, Tokens


class GatedFusion(Fusion):
    """h = sum over visible fields of gate_f * tanh(W_f mean_f), the gates of each feature adding up to 1.

    The gates are a softmax over the visible fields and a learned vector that stands for nothing, so that any subset is
    a valid context. Each field's gated vector is a token too.

    Source: Arevalo et al., "Gated multimodal units for information fusion", 2017, equations 1 to 6, with a softmax in
    place of their sigmoid for two fields.

    Args:
        fields: Names, in order.
        width: Width of the tokens.
    """

    keeps = "fields"

    def __init__(self, fields: Sequence[str], width: int):
        super().__init__()
        self.fields = tuple(fields)
        self.nothing = nn.Parameter(torch.randn(width) * 0.02)
        self.values = nn.ModuleDict({name: Linear(width, width, bias=True) for name in fields})
        self.gates = nn.ModuleDict({name: Linear(width, width, bias=True) for name in fields})

    def forward(
        self, tokens: Mapping[str, Tokens], rows: int, device: torch.device, keys: Tensor | None = None
    ) -> Context:
        values: list[Tensor] = [self.nothing.expand(rows, -1)]
        logits: list[Tensor] = [torch.zeros_like(values[0])]
        masks = [torch.ones(rows, dtype=torch.bool, device=device)]
        for name in self.fields:
            if name in tokens:
                mean, seen = tokens[name].mean, tokens[name].seen
                values.append(torch.tanh(self.values[name](mean)))
                logits.append(self.gates[name](mean).masked_fill(~seen[:, None], -torch.inf))
                masks.append(seen)
        x = torch.stack(values, dim=1) * torch.stack(logits, dim=1).softmax(1)
        return Context(x, torch.stack(masks, dim=1), x.sum(1))
