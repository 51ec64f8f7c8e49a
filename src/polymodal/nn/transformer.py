"""The transformer that encoders, fusions and heads share."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.nn.attention import Attention, KeyValueCache, LayerCache, Turns, rotation, turns_at
from polymodal.nn.layers import NORMS, Linear, SwiGLU


@dataclass(frozen=True)
class Fold:
    """Tokens (B, T * S, D) of T frames as rows that attend apart: those of one frame, or those of one place over time.

    Attributes:
        frame: S, tokens of a frame.
        over_time: Whether rows are places; else they are frames.
    """

    frame: int
    over_time: bool

    def apart(self, x: Tensor) -> Tensor:
        """(B, T * S, D) -> (B * T, S, D), or (B * S, T, D) over time."""
        x = x.unflatten(1, (-1, self.frame))
        return (x.transpose(1, 2) if self.over_time else x).flatten(0, 1)

    def together(self, x: Tensor, rows: int) -> Tensor:
        """The inverse, of so many rows."""
        x = x.unflatten(0, (rows, -1))
        return (x.transpose(1, 2) if self.over_time else x).flatten(1, 2)


class Block(nn.Module):
    """Pre-norm transformer block: self-attention, cross-attention to a context if it has one, SwiGLU.

    Source: Touvron et al., "LLaMA" (2023), section 2.2; the conditioning is adaLN-Zero of Peebles and Xie, "Scalable
    diffusion models with transformers" (2023), section 3.2.

    Args:
        width: D.
        heads: Attention heads; divides ``width``.
        context_width: C, width of the context to attend to; None for no cross-attention.
        conditioned: Whether a vector (B, D) scales, shifts and gates the block. It starts as the identity.
        rotary: Whether self-attention has rotary positions.
        intermediate_size: Inner width of the feed-forward layer.
        dropout: Share of each layer's output that is dropped in training.
        norm: ``layer`` or ``rms``.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        context_width: int | None = None,
        conditioned: bool = False,
        rotary: bool = False,
        intermediate_size: int | None = None,
        dropout: float = 0.0,
        norm: str = "layer",
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention_norm = NORMS[norm](width)
        self.attention = Attention(width, heads, rotary=rotary)
        if context_width is not None:
            self.cross_norm = NORMS[norm](width)
            self.cross = Attention(width, heads, context_width=context_width)
        self.crosses = context_width is not None
        self.feed_norm = NORMS[norm](width)
        self.feed = SwiGLU(width, intermediate_size)
        self.modulation = Linear(width, 6 * width, bias=True, zero=True) if conditioned else None

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        context_bias: Tensor | None = None,
        condition: Tensor | None = None,
        causal: bool = False,
        cache: LayerCache | None = None,
        position: int = 0,
        turns: Turns | None = None,
        fold: Fold | None = None,
    ) -> Tensor:
        """(B, N, D) -> (B, N, D). Arguments as of ``Transformer.forward`` and ``Attention.forward``.

        With ``fold`` a token attends to those alone that it puts into one row with it.
        """
        attend = {"mask": mask, "causal": causal, "cache": cache, "position": position, "turns": turns}
        if self.modulation is None:
            x = x + self._drop(self._attend(self.attention_norm(x), fold, attend))
            if self.crosses:
                x = x + self._cross(x, context, context_mask, context_bias, cache)
            return x + self._drop(self.feed(self.feed_norm(x)))
        assert condition is not None
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(F.silu(condition))[:, None].chunk(
            6, dim=-1
        )
        h = torch.addcmul(shift_a, self.attention_norm(x), 1 + scale_a)
        x = torch.addcmul(x, gate_a, self._drop(self._attend(h, fold, attend)))
        if self.crosses:
            x = x + self._cross(x, context, context_mask, context_bias, cache)
        h = torch.addcmul(shift_f, self.feed_norm(x), 1 + scale_f)
        return torch.addcmul(x, gate_f, self._drop(self.feed(h)))

    def _attend(self, x: Tensor, fold: Fold | None, attend: dict[str, Any]) -> Tensor:
        if fold is None:
            return self.attention(x, **attend)
        mask = attend["mask"]
        seen = None if mask is None else fold.apart(mask[..., None])[..., 0]
        return fold.together(self.attention(fold.apart(x), **attend | {"mask": seen}), len(x))

    def _cross(
        self, x: Tensor, context: Tensor | None, mask: Tensor | None, bias: Tensor | None, cache: LayerCache | None
    ) -> Tensor:
        return self._drop(self.cross(self.cross_norm(x), context=context, mask=mask, bias=bias, cache=cache))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x


class Transformer(nn.Module):
    """A stack of blocks and a last norm.

    Args:
        width: D.
        depth: Number of blocks.
        heads: Attention heads; divides ``width``.
        rotary: Whether self-attention has rotary positions.
        norm: ``layer`` or ``rms``.
        options: Options of ``Block``.
    """

    compiled_any_length = ("run",)

    def __init__(
        self, width: int, depth: int, heads: int, *, rotary: bool = False, norm: str = "layer", **options
    ) -> None:
        super().__init__()
        self.heads, self.head_width, self.rotary = heads, width // heads, rotary
        self.blocks = nn.ModuleList(Block(width, heads, rotary=rotary, norm=norm, **options) for _ in range(depth))
        self.norm = NORMS[norm](width)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        context_bias: Tensor | None = None,
        condition: Tensor | None = None,
        causal: bool = False,
        cache: KeyValueCache | None = None,
        frame: int | None = None,
    ) -> Tensor:
        """(B, N, D) -> (B, N, D).

        Args:
            x: The sequence; with a cache, what comes after what the cache has seen.
            mask: (B, N) which positions are real; the others are attended to by none. Not with a cache.
            context: (B, M, C) to cross-attend to; or (B / k, M, C), where every k rows of ``x`` share one.
            context_mask: (B, M) or (B / k, M) which of it is real.
            context_bias: Of the logits of the attention to the context, as of ``Attention.forward``.
            condition: (B, D) vector that modulates conditioned blocks.
            causal: Whether a position sees only itself and those before it.
            cache: From ``cache``; extended by ``x`` in place.
            frame: Tokens of one frame of a video, so that blocks attend within frames and over time in turn, which
                takes less than attention to all where there are many. Not with rotary positions. Source: Ma et al.,
                "Latte: latent diffusion transformer for video generation", 2024, variant 1.
        """
        attend = {
            "mask": mask, "context": context, "context_mask": context_mask, "context_bias": context_bias,
            "condition": condition, "causal": causal,
        }  # fmt: skip
        if cache is None:
            return self.run(x, frame=frame, **attend)
        position = cache.position
        turns = None if cache.turns is None else turns_at(cache.turns, position, x.shape[1])
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            x = block(x, **attend, cache=layer, position=position, turns=turns)
        cache.position = position + x.shape[1]
        return self.norm(x)

    def run(self, x: Tensor, *, frame: int | None = None, **attend: Any) -> Tensor:
        """``forward`` without a cache."""
        turns = rotation(x.shape[1], self.head_width, x.device) if self.rotary else None
        for place, block in enumerate(self.blocks):
            fold = None if frame is None else Fold(frame, over_time=place % 2 == 1)
            x = block(x, **attend, turns=turns, fold=fold)
        return self.norm(x)

    def cache(self, rows: int, length: int) -> KeyValueCache:
        """An empty cache for the generation of ``rows`` sequences of at most ``length`` positions."""
        weight = next(self.parameters())
        layers = [LayerCache(weight.new_zeros(2, rows, self.heads, length, self.head_width)) for _ in self.blocks]
        return KeyValueCache(layers, rotation(length, self.head_width, weight.device) if self.rotary else None)
