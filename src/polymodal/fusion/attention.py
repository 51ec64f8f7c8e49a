"""Self-attention over the tokens of all visible fields."""

from collections.abc import Mapping, Sequence

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.fusion.base import Fusion
from polymodal.nn.shapes import longest
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Tokens


class AttentionFusion(Fusion):
    """One transformer reads a register token and every visible token, each marked with its field.

    The register is always there, so that any subset of the fields, none included, is a valid context; what it
    becomes, plus the mean of all, is the pooled vector.

    Source: the any-to-any encoders of 4M (Mizrahi et al. 2023); the register of Darcet et al. 2024.

    Args:
        fields: Names, in order.
        width: Width of the tokens.
        depth: Transformer blocks.
        heads: Attention heads.
    """

    keeps = "tokens"

    def __init__(self, fields: Sequence[str], width: int, *, depth: NonNegativeInt = 2, heads: PositiveInt = 4):
        super().__init__()
        self.fields = tuple(fields)
        self.register = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.marks = nn.ParameterDict({name: nn.Parameter(torch.randn(width) * 0.02) for name in fields})
        self.transformer = Transformer(width, depth, heads)

    def forward(
        self, tokens: Mapping[str, Tokens], rows: int, device: torch.device, keys: Tensor | None = None
    ) -> Context:
        parts = [self.register.expand(rows, -1, -1)]
        masks = [torch.ones(rows, 1, dtype=torch.bool, device=device)]
        at = [torch.full((rows, 1, 2), -1.0, device=device)]
        for name in self.fields:
            if name in tokens:
                own = tokens[name]
                parts.append(own.x + self.marks[name])
                masks.append(own.mask)
                where = own.places_in_row
                at.append(torch.full((*own.mask.shape, 2), -1.0, device=device) if where is None else where)
        told = any(part.places is not None or part.ordered for part in tokens.values())
        places = torch.cat(at, dim=1) if told else None
        x, mask, places = _pack(torch.cat(parts, dim=1), torch.cat(masks, dim=1), places)
        x = self.transformer(x, mask=mask)
        weight = mask.to(x.dtype)[..., None]
        return Context(x, mask, x[:, 0] + (x * weight).sum(1) / weight.sum(1), places=places)


def _pack(x: Tensor, mask: Tensor, places: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Moves the real tokens of each row to the front, in order, and drops the columns that no row needs.

    Most rows see few of the fields, so this saves most of the work. How many columns are needed is only known once
    the mask is read, which on a GPU would stall the queue and in a graph has no place: there, the tokens stay where
    they are.
    """
    if x.device.type != "cpu" or torch.compiler.is_exporting():
        return x, mask, places
    order = mask.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : longest(mask)]
    places = None if places is None else places.gather(1, order[..., None].expand(-1, -1, 2))
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[2])), mask.gather(1, order), places
