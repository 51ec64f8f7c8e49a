"""Networks over sets: what they read does not depend on the order of the members, and what they write follows it.

Shapes: B rows, N members of F features, L latent vectors of width D.
"""

import math

import torch
from torch import Tensor, nn

from polymodal.nn.attention import Attention
from polymodal.nn.layers import Linear, SwiGLU, layer_norm
from polymodal.nn.transformer import Block

OCTAVES = 5
"""Frequencies of the waves that tell near members apart."""


class MemberEmbedding(nn.Module):
    """Members (B, N, F) -> (B, N, D), each alone, with waves of its numbers beside them.

    Source: Mildenhall et al., "NeRF: representing scenes as neural radiance fields", 2020, section 5.1.

    Args:
        features: F.
        width: D.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", 0.5 * math.pi * 2.0 ** torch.arange(OCTAVES), persistent=False)
        self.linear = Linear(features * (1 + 2 * OCTAVES), width, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        angles = (x[..., None] * self.frequencies).flatten(2)
        return self.linear(torch.cat([x, angles.sin(), angles.cos()], dim=2))


class SetReader(nn.Module):
    """Learned queries attend to the members: (B, N, D) -> (B, L, D), whatever the order of the members.

    Source: Zhang et al., "3DShape2VecSet", 2023, section 5.1; Jaegle et al., "Perceiver", 2021.

    Args:
        width: D.
        latents: L.
        heads: Attention heads.
    """

    def __init__(self, width: int, latents: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, latents, width) * 0.5)
        self.norm = layer_norm(width)
        self.attention = Attention(width, heads, context_width=width)

    def forward(self, members: Tensor) -> Tensor:
        queries = self.queries.expand(len(members), -1, -1)
        return queries + self.attention(queries, context=self.norm(members))


class SetBlock(nn.Module):
    """The latents read the members and the context and speak with each other; then each member reads the latents.

    Source: Huang et al., "PointInfinity: resolution-invariant point diffusion models", 2024, section 3.2; Jabri, Fleet
    and Chen, "Scalable adaptive computation for iterative generation", 2023.

    Args:
        width: D.
        heads: Attention heads.
        context_width: Of the context.
    """

    def __init__(self, width: int, heads: int, context_width: int) -> None:
        super().__init__()
        self.latent_norm, self.member_norm, self.member_norm_2 = (layer_norm(width) for _ in range(3))
        self.read = Attention(width, heads, context_width=width)
        self.process = Block(width, heads, context_width=context_width, conditioned=True)
        self.write = Attention(width, heads, context_width=width)
        self.feed_norm, self.feed = layer_norm(width), SwiGLU(width, 2 * width)
        self.modulation = Linear(width, 3 * width, bias=True, zero=True)

    def forward(
        self, members: Tensor, latents: Tensor, condition: Tensor, context: Tensor, context_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Members (B, N, D), latents (B, L, D) and condition (B, D) -> members and latents."""
        latents = latents + self.read(self.latent_norm(latents), context=self.member_norm(members))
        latents = self.process(latents, context=context, context_mask=context_mask, condition=condition)
        members = members + self.write(self.member_norm_2(members), context=latents)
        shift, scale, gate = self.modulation(nn.functional.silu(condition))[:, None].chunk(3, dim=-1)
        return torch.addcmul(members, 1 + gate, self.feed(self.feed_norm(members) * (1 + scale) + shift)), latents
