"""Attention, rotary positions and the cache that makes generation token by token fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.nn.layers import Linear

Turns = tuple[Tensor, Tensor]
"""Cosines and signed sines, each (N, 3, 1, 2, head width / 2), of the angles of N rotary positions."""


@dataclass
class LayerCache:
    """What one layer has seen: keys and values (2, B, heads, length, head width), and those of the context."""

    memory: Tensor
    context: tuple[Tensor, Tensor] | None = None

    def extend(self, packed: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Adds keys and values (2, B, heads, N, head width) of positions from ``position`` on.

        Returns:
            All keys and values so far, and which of them are real where that is not all.
        """
        end = position + packed.shape[3]
        self.memory.narrow(3, position, packed.shape[3]).copy_(packed)
        key, value = self.memory.narrow(3, 0, end).unbind()
        return key, value, None


@dataclass
class KeyValueCache:
    """The keys and values of one generation, allocated once at their full length.

    It belongs to whoever generates and is passed to ``Transformer.forward``, which appends to it and moves
    ``position`` on: a module holds no state of a generation, so one model can serve many at once. The keys and
    values of a cross-attention's context are computed at the first step and kept.

    Attributes:
        layers: One a block.
        turns: ``rotation`` of all positions, if they are rotary.
        position: Positions seen.
    """

    layers: Sequence[LayerCache]
    turns: Turns | None
    position: int = 0

    @property
    def length(self) -> int:
        """Positions that it has room for."""
        return self.layers[0].memory.shape[3]


def rotation(count: int, width: int, device: torch.device | None = None, *, base: float = 10_000.0) -> Turns:
    """What ``rotate`` turns positions 0 .. count by, for heads of ``width``.

    The axis of 3 is of queries, keys and values; values turn by no angle, so that the three can stay together.
    """
    frequencies = base ** (torch.arange(width // 2, device=device) / -(width // 2))
    angles = torch.arange(count, device=device)[:, None] * frequencies
    angles = torch.stack([angles, angles, torch.zeros_like(angles)], dim=1)[:, :, None]
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack([cosine, cosine], dim=3), torch.stack([-sine, sine], dim=3)


def turns_at(turns: Turns, position: int, count: int) -> Turns:
    """Those of positions ``position .. position + count``."""
    return turns[0].narrow(0, position, count), turns[1].narrow(0, position, count)


def rotate(packed: Tensor, turns: Turns) -> Tensor:
    """Rotary positions for ``packed`` (B, N, 3, heads, 2, width / 2): its pairs along the axis of 2 turn by an angle.

    Source: Su et al., "RoFormer" (2021), equation 34, with the halves of a head paired as Llama pairs them.
    """
    cosine, sine = turns
    return torch.addcmul(packed * cosine, packed.flip(-2), sine)


class Attention(nn.Module):
    """Multi-head attention of a sequence to itself, or to a context.

    Source: Vaswani et al., "Attention is all you need" (2017), section 3.2.

    Args:
        width: D, of input and output.
        heads: Number of heads; divides ``width``, and half of it where positions are rotary.
        context_width: C, of the context; None attends to the sequence itself.
        rotary: Whether queries and keys carry rotary positions (of a sequence's own positions).

    Raises:
        ConfigError: ``heads`` does not divide it.
    """

    def __init__(self, width: int, heads: int, *, context_width: int | None = None, rotary: bool = False) -> None:
        super().__init__()
        if width % (2 * heads if rotary else heads):
            raise ConfigError(f"heads: {heads} does not divide {'half of ' if rotary else ''}the width {width}")
        self.heads, self.rotary = heads, rotary
        self.head_width = width // heads
        if context_width is None:
            self.query_key_value = Linear(width, 3 * width)
        else:
            self.query = Linear(width, width)
            self.key_value = Linear(context_width, 2 * width)
        self.out = Linear(width, width)
        self.crosses = context_width is not None

    def forward(
        self,
        x: Tensor,
        *,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: LayerCache | None = None,
        position: int = 0,
        turns: Turns | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """(B, N, D) -> (B, N, D).

        Args:
            x: The sequence.
            context: (B, M, C), for an attention to a context; or (B / k, M, C), where every k rows of ``x`` share one.
            mask: (B, M) which keys are real; a row without a real key gives zeros.
            causal: Whether a position sees only itself and those before it.
            cache: Keys and values of the positions before, to which those of ``x`` are added.
            position: Position of ``x``'s first element, with a cache.
            turns: ``rotation`` of ``x``'s positions, if already computed.
            bias: (B, heads, N, M), or (B / k, heads, k N, M) where every k rows share a context, of the logits.
        """
        rows, count, _ = x.shape
        held: Tensor | None = None
        if self.crosses:
            if context is not None and len(context) != rows:  # so keys and values are made once for all that share them
                x = x.reshape(len(context), -1, x.shape[2])
            query = self._split(x @ self.query.weight, 1)[0]
            if cache is None or cache.context is None:
                assert context is not None
                key, value = self._split(context @ self.key_value.weight, 2).unbind()
                if cache is not None:
                    cache.context = key.contiguous(), value.contiguous()
            else:
                key, value = cache.context
        else:
            packed = x @ self.query_key_value.weight  # directly, as in SwiGLU
            if self.rotary:
                if turns is None:
                    turns = turns_at(rotation(position + count, self.head_width, x.device), position, count)
                packed = rotate(packed.view(rows, count, 3, self.heads, 2, self.head_width // 2), turns)
            packed = self._split(packed, 3)
            if cache is None:
                query, key, value = packed.unbind()
            else:
                query = packed[0]
                key, value, held = cache.extend(packed[1:], position)

        visible = held if mask is None else mask[:, None, None, :]
        if bias is not None:
            bias = bias.to(query.dtype)
            visible = bias if visible is None else bias.masked_fill(~visible, -torch.inf)
        causal = causal and count > 1  # one position sees all that the cache holds
        if causal and (visible is not None or position > 0):
            before = torch.ones(count, key.shape[2], dtype=torch.bool, device=x.device).tril(position)
            visible = before if visible is None else visible & before
            causal = False
        y = F.scaled_dot_product_attention(query, key, value, visible, is_causal=causal)
        return (y.transpose(1, 2).flatten(2) @ self.out.weight).view(rows, count, self.heads * self.head_width)

    def shares(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, heads, N, M) with which shares ``forward`` mixes the values of a context, to look at.

        Args:
            x: (B, N, D), or (B * k, N / k, D) where every k rows share a context.
            context: (B, M, C).
            mask: (B, M) which of it is real.
        """
        query = self._split(x.reshape(len(context), -1, x.shape[2]) @ self.query.weight, 1)[0]
        key = self._split(context @ self.key_value.weight, 2)[0]
        scores = query @ key.transpose(-1, -2) / self.head_width**0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], -torch.inf)
        return scores.softmax(-1)

    def _split(self, packed: Tensor, parts: int) -> Tensor:
        """(B, N, parts * D), in any shape -> (parts, B, heads, N, head width)."""
        rows, count = packed.shape[:2]
        return packed.view(rows, count, parts, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
