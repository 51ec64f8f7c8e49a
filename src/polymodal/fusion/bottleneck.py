"""A few latent tokens read the tokens of all visible fields: the cost is linear in the number of tokens."""

from collections.abc import Mapping, Sequence

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.fusion.base import Fusion
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Tokens


class BottleneckFusion(Fusion):
    """Learned latents cross-attend to all visible tokens and to one another, layer by layer.

    Source: Jaegle et al., "Perceiver", 2021; for many modalities: Nagrani et al., "Attention bottlenecks for multimodal
    fusion", 2021.

    Args:
        fields: Names, in order.
        width: Width of the tokens.
        latents: Number of latent tokens, which the context is made of.
        depth: Transformer blocks.
        heads: Attention heads.
    """

    def __init__(
        self,
        fields: Sequence[str],
        width: int,
        *,
        latents: PositiveInt = 8,
        depth: NonNegativeInt = 2,
        heads: PositiveInt = 4,
    ):
        super().__init__()
        self.fields = tuple(fields)
        self.latents = nn.Parameter(torch.randn(1, latents, width) * 0.02)
        self.register = nn.Parameter(torch.randn(1, 1, width) * 0.02)  # so that there always is something to read
        self.marks = nn.ParameterDict({name: nn.Parameter(torch.randn(width) * 0.02) for name in fields})
        self.transformer = Transformer(width, depth, heads, context_width=width)

    def forward(
        self, tokens: Mapping[str, Tokens], rows: int, device: torch.device, keys: Tensor | None = None
    ) -> Context:
        seen = [name for name in self.fields if name in tokens]
        source = torch.cat(
            [self.register.expand(rows, -1, -1), *(tokens[name].x + self.marks[name] for name in seen)], dim=1
        )
        always = torch.ones(rows, 1, dtype=torch.bool, device=device)
        mask = torch.cat([always, *(tokens[name].mask for name in seen)], dim=1)
        x = self.transformer(self.latents.expand(rows, -1, -1), context=source, context_mask=mask)
        return Context(x, always.expand(-1, x.shape[1]), x.mean(1))
