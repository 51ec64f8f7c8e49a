"""Autoregressive head: a causal transformer that cross-attends to the context, for discrete spaces."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.heads.base import Head
from polymodal.nn.attention import KeyValueCache
from polymodal.nn.layers import Linear
from polymodal.nn.random import fold, uniform
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Field, Losses, Space

PAD, END, BEGIN = 0, 1, 2
"""Ids of a space of variable length. A stored sequence ends in END; PAD and BEGIN are never predicted."""

Choice = Callable[[Tensor, Tensor, int], Tensor]
"""Ids (B,) from logits (B, vocab), keys (B,) and the position."""


class Autoregressive(Head):
    """p(ids | context) = product over positions of p(id | ids before, context).

    The first position's input is the pooled context, every further one's the id before it; rotary positions.

    Source: Vaswani et al., "Attention is all you need" (2017); the blocks are those of ``nn.transformer``.

    Args:
        space: Discrete, of variable length (text, which ends in END) or fixed length (labels, codes).
        width: D, of the context.
        depth: Number of transformer blocks.
        heads: Attention heads; divides ``width_inside``.
        width_inside: Width of the transformer; by default D.
        hidden: Inner width of the feed-forward layers; by default 8/3 of ``width_inside``.
        dropout: Share of each layer's output that is dropped in training.
        word_dropout: Share of the ids before that are hidden in training, so that each position must look at the
            context and not only at its neighbours. Source: Bowman et al., "Generating sentences from a continuous
            space" (2016), section 3.1.
        norm: Of the transformer: ``layer``, or ``rms`` as Llama has it.
        label_smoothing: Share of the target distribution that is spread evenly over all ids.
        tie_embeddings: Whether the output layer is the embedding's transpose.
        cross_attention: Whether to attend to the context's tokens, or to be told of the pooled context only.

    Raises:
        ConfigError: An option is out of range.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        depth: int = 4,
        heads: int = 4,
        width_inside: int | None = None,
        hidden: int | None = None,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        norm: Literal["layer", "rms"] = "layer",
        label_smoothing: float = 0.0,
        tie_embeddings: bool = True,
        cross_attention: bool = True,
    ) -> None:
        super().__init__()
        inside = width_inside or width
        _require(depth >= 1, "depth", depth, "at least 1")
        _require(
            heads >= 1 and inside % (2 * heads) == 0, "heads", heads, f"a divisor of half the width, {inside // 2}"
        )
        _require(0 <= dropout < 1, "dropout", dropout, "in [0, 1)")
        _require(0 <= word_dropout < 1, "word_dropout", word_dropout, "in [0, 1)")
        _require(0 <= label_smoothing < 1, "label_smoothing", label_smoothing, "in [0, 1)")
        self.space = space
        self.label_smoothing, self.word_dropout = label_smoothing, word_dropout
        self.begin = Linear(width, inside, bias=True)
        self.embedding = nn.Embedding(space.vocab, inside)
        nn.init.normal_(self.embedding.weight, std=0.02)
        context_width = width if cross_attention else None
        options: dict[str, Any] = {"context_width": context_width, "hidden": hidden, "dropout": dropout, "norm": norm}
        self.transformer = Transformer(inside, depth, heads, rotary=True, **options)
        self.tied = tie_embeddings
        if not tie_embeddings:
            self.output = Linear(inside, space.vocab)
        forbidden = torch.zeros(space.vocab, dtype=torch.bool)
        if space.variable:
            forbidden[[PAD, BEGIN]] = True
        self.forbidden: Tensor
        self.register_buffer("forbidden", forbidden, persistent=False)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if space.kind != "discrete":
            return "an autoregressive head models discrete spaces; this one is continuous"
        if len(space.shape) != 1:
            return f"an autoregressive head models sequences; this space has {len(space.shape)} axes"
        return None

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """``nll``: negative log-likelihood of a row, the mean over its real positions, in nats."""
        log_probs, real = self._log_probs(context, target, keys if self.training else None)
        ids = target.value.long()[..., None]
        loss = -log_probs.gather(-1, ids).squeeze(-1)
        if self.label_smoothing:
            even = -log_probs.masked_fill(self.forbidden, 0.0).sum(-1) / (~self.forbidden).sum()
            loss = torch.lerp(loss, even, self.label_smoothing)
        return {"nll": loss.masked_fill(~real, 0.0).sum(1) / real.sum(1).clamp(min=1)}

    def log_likelihood(self, context: Context, target: Field) -> Tensor:
        """(B,) log p(target | context) of whole rows, in nats."""
        log_probs, real = self._log_probs(context, target)
        chosen = log_probs.gather(-1, target.value.long()[..., None]).squeeze(-1)
        return chosen.masked_fill(~real, 0.0).sum(1)

    def sample(  # type: ignore[override]
        self,
        context: Context,
        keys: Tensor,
        *,
        unconditional: Context | None = None,
        guidance: float = 1.0,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        max_length: int | None = None,
    ) -> Field:
        """Ids (B, L), drawn from left to right until every row has ended.

        Args:
            context: What is known, B rows.
            keys: (B,) random keys of the rows.
            unconditional: Context of the same rows with nothing visible; needed if ``guidance`` is not 1.
            guidance: Weight of the context: logits are unconditional + guidance * (conditional - unconditional).
            temperature: Divides the logits; 0 takes the likeliest id.
            top_k: Draw from the ``top_k`` likeliest ids only; 0 for all.
            top_p: Draw from the fewest ids that have this probability together (Holtzman et al., 2020).
            max_length: Bound on the length, END included; by default and at most the space's.

        Raises:
            ConfigError: An option is out of range.
        """
        longest = self.space.shape[0]
        length = longest if max_length is None else max_length
        _require(temperature >= 0, "temperature", temperature, "0 (greedy) or more")
        _require(top_k >= 0, "top_k", top_k, "0 (all ids) or more")
        _require(0 < top_p <= 1, "top_p", top_p, "in (0, 1]")
        _require(guidance >= 0, "guidance", guidance, "0 or more")
        _require(1 <= length <= longest, "max_length", length, f"between 1 and {longest}")
        _require(
            self.space.variable or length == longest,
            "max_length",
            length,
            f"unset: all values have {longest} positions",
        )
        if guidance != 1.0:
            if unconditional is None:
                raise ConfigError(f"guidance is {guidance}; without an unconditional context it must be 1")
            context = context.beside(unconditional)

        choose = partial(_choose, temperature=temperature, top_k=top_k, top_p=top_p)
        with torch.inference_mode():
            ids = self._decode(context, keys, length, guidance, choose)
        ids = ids.clone()  # a tensor made in inference mode could never be trained on
        mask = ids != PAD if self.space.variable else torch.ones_like(ids[:, :1], dtype=torch.bool)
        return Field(ids, mask, torch.ones_like(ids[:, 0], dtype=torch.bool))

    def _decode(self, context: Context, keys: Tensor, length: int, guidance: float, choose: Choice) -> Tensor:
        """Ids (B, L). With guidance, ``context`` holds the B unconditional rows after the B rows."""
        rows, repeats = len(keys), 1 if guidance == 1.0 else 2
        cache = self.transformer.cache(rows * repeats, length)
        ids = torch.zeros(rows, length, dtype=torch.long, device=keys.device)
        ended = torch.zeros(rows, dtype=torch.bool, device=keys.device)
        x = self.begin(context.pooled)[:, None]
        for position in range(length):
            logits = self.step(x, context, cache)
            if repeats > 1:
                logits = torch.lerp(logits[rows:], logits[:rows], guidance)
            chosen = choose(logits, keys, position)
            if self.space.variable:
                chosen = chosen.masked_fill(ended, PAD)
                ended |= chosen == END
            ids[:, position] = chosen
            if self.space.variable and bool(ended.all()):
                return ids[:, : position + 1]
            x = self.embedding(chosen if repeats == 1 else chosen.repeat(repeats))[:, None]
        return ids

    def step(self, x: Tensor, context: Context, cache: KeyValueCache) -> Tensor:
        """Logits (B, vocab) of the id after inputs ``x`` (B, N, inside), which continue those that ``cache`` holds."""
        h = self.transformer(x, context=context.tokens, context_mask=context.mask, causal=True, cache=cache)
        return self._logits(h[:, -1])

    def _log_probs(self, context: Context, target: Field, keys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, L, vocab) of each position given those before, and which positions are real (B, L)."""
        ids = target.value.long()
        # Padding comes last and attention looks back only, so that no real position sees any.
        before = ids[:, :-1]
        if keys is not None and self.word_dropout:
            forgotten = uniform(fold(keys, 0), before.shape[1:]) < self.word_dropout
            before = before.masked_fill(forgotten, PAD)
        x = torch.cat([self.begin(context.pooled)[:, None], self.embedding(before)], dim=1)
        h = self.transformer(x, context=context.tokens, context_mask=context.mask, causal=True)
        return self._logits(h).log_softmax(-1), target.mask.expand_as(ids)

    def _logits(self, h: Tensor) -> Tensor:
        logits = F.linear(h, self.embedding.weight) if self.tied else self.output(h)
        if self.space.variable:  # finite, so that the loss of padding, which is masked, is no NaN
            logits = logits.masked_fill(self.forbidden, torch.finfo(logits.dtype).min / 2)
        return logits.float()


def _require(condition: bool, option: str, given: float, right: str) -> None:
    if not condition or not math.isfinite(given):
        raise ConfigError(f"{option} is {given}; it must be {right}")


def _choose(logits: Tensor, keys: Tensor, position: int, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Ids (B,) at ``position``, drawn from ``logits`` (B, vocab), each row by its key."""
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -math.inf)
    if top_p < 1:
        ordered, order = logits.sort(descending=True)
        before = ordered.softmax(-1).cumsum(-1).roll(1, -1)
        before[:, 0] = 0.0
        logits = logits.masked_fill((before >= top_p).scatter(-1, order, before >= top_p), -math.inf)
    # The Gumbel-max trick. Matrix products round differently in batches of different sizes; an argmax, unlike a sum
    # of probabilities, feels that only in a near tie, so that a row's draw does not depend on its batch.
    noise = uniform(fold(keys, position), logits.shape[1:]) + 2.0**-25
    return (logits - noise.log().neg().log()).argmax(-1)
