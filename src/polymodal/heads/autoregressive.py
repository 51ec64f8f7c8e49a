"""Autoregressive head: a causal transformer that cross-attends to the context, for discrete spaces."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Share
from polymodal.heads.base import Head
from polymodal.heads.token_sampling import (
    SequenceOptions,
    TopP,
    check_length,
    decode,
    forbid,
    forbidden_ids,
    forget,
    refuse_other_than_sequences,
    sequence_nll,
)
from polymodal.nn.attention import KeyValueCache
from polymodal.nn.layers import Linear
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Field, Losses, Space


class Autoregressive(Head):
    """p(ids | context) = product over positions of p(id | ids before, context).

    The first position's input is the pooled context, every further one's the id before it; rotary positions.

    Source: Vaswani et al., "Attention is all you need" (2017); the blocks are those of ``nn.transformer``.

    Args:
        space: Discrete, of variable length (text, which ends in END) or fixed length (labels, codes).
        width: D, of the context.
        depth: Number of transformer blocks.
        heads: Attention heads; divides half of ``hidden_size``.
        hidden_size: Width of the transformer; by default D.
        intermediate_size: Inner width of the feed-forward layers; by default 8/3 of ``hidden_size``.
        dropout: Share of each layer's output that is dropped in training.
        word_dropout: Share of the ids before that are hidden in training, so that each position must look at the
            context and not only at its neighbours; see ``token_sampling.forget``.
        norm: Of the transformer: ``layer``, or ``rms`` as Llama has it.
        label_smoothing: Share of the target distribution that is spread evenly over all ids.
        tie_embeddings: Whether the output layer is the embedding's transpose.
        cross_attention: Whether to attend to the context's tokens, or to see the pooled context only.
        positions: Whether each place of a fixed length has a learned vector beside the rotation, such as codes of a
            picture need to know their place in the grid.
        guidance: Default of the sampling option; see ``SequenceOptions``.
        temperature: Default of the sampling option.
        top_p: Default of the sampling option.

    Raises:
        ConfigError: An argument is out of its bounds, or ``heads`` does not divide half of the width.
    """

    options: SequenceOptions

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        depth: PositiveInt = 4,
        heads: PositiveInt = 4,
        hidden_size: PositiveInt | None = None,
        intermediate_size: PositiveInt | None = None,
        dropout: Share = 0.0,
        word_dropout: Share = 0.0,
        norm: Literal["layer", "rms"] = "layer",
        label_smoothing: Share = 0.0,
        tie_embeddings: bool = True,
        cross_attention: bool = True,
        positions: bool = False,
        guidance: NonNegativeFloat = 1.0,
        temperature: NonNegativeFloat = 1.0,
        top_p: TopP = 1.0,
    ) -> None:
        super().__init__()
        self.options = SequenceOptions(guidance=guidance, temperature=temperature, top_p=top_p)
        hidden_size = hidden_size or width
        self.space = space
        self.label_smoothing, self.word_dropout = label_smoothing, word_dropout
        self.begin = Linear(width, hidden_size, bias=True)
        self.embedding = nn.Embedding(space.vocab, hidden_size)
        nn.init.normal_(self.embedding.weight, std=0.02)
        placed = positions and not space.variable
        self.positions = nn.Parameter(torch.randn(space.shape[0], hidden_size) * 0.02) if placed else None
        self.transformer = Transformer(
            hidden_size,
            depth,
            heads,
            rotary=True,
            context_width=width if cross_attention else None,
            intermediate_size=intermediate_size,
            dropout=dropout,
            norm=norm,
        )
        self.tied = tie_embeddings
        if not tie_embeddings:
            self.output = Linear(hidden_size, space.vocab)
        self.forbidden: Tensor
        self.register_buffer("forbidden", forbidden_ids(space), persistent=False)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return refuse_other_than_sequences("an autoregressive", space)

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """``nll``: negative log-likelihood of a row, the mean over its real positions, in nats."""
        log_probs = self._log_probs(context, target, keys if self.training else None)
        nll, count = sequence_nll(log_probs, target, self.forbidden, self.label_smoothing)
        return {"nll": nll / count}

    def log_likelihood(self, context: Context, target: Field, keys: Tensor | None = None) -> Tensor:
        """(B,) log p(target | context) of whole rows, in nats."""
        return -sequence_nll(self._log_probs(context, target), target, self.forbidden)[0]

    def check_options(self, options: SequenceOptions) -> None:
        check_length(self.space, options.max_length)

    def draw(self, context: Context, keys: Tensor, unconditional: Context | None, options: SequenceOptions) -> Field:
        """Ids (B, L), drawn from left to right until every row has ended.

        Raises:
            ConfigError: Guidance is asked for without an unconditional context.
        """
        context = options.guided(context, unconditional)
        cache = self.transformer.cache(len(context.pooled), options.max_length or self.space.shape[0])

        def step(before: Tensor | None) -> Tensor:
            x = self.begin(context.pooled) if before is None else self.embedding(before)
            x = x if self.positions is None else x + self.positions[cache.position]
            return self.step(x[:, None], context, cache)

        return decode(self.space, keys, step, options)

    def step(self, x: Tensor, context: Context, cache: KeyValueCache) -> Tensor:
        """Logits (B, vocab) of the id after ``x`` (B, N, hidden_size), which continues what ``cache`` holds."""
        h = self.transformer(x, context=context.tokens, context_mask=context.mask, causal=True, cache=cache)
        return self._logits(h[:, -1])

    def _log_probs(self, context: Context, target: Field, keys: Tensor | None = None) -> Tensor:
        """Log-probabilities (B, L, vocab) of each position given those before."""
        # Padding comes last and attention looks back only, so that no real position sees any.
        before = self.embedding(target.value[:, :-1].long())
        if keys is not None and self.word_dropout:
            before = forget(before, keys, self.word_dropout)
        x = torch.cat([self.begin(context.pooled)[:, None], before], dim=1)
        x = x if self.positions is None else x + self.positions
        h = self.transformer(x, context=context.tokens, context_mask=context.mask, causal=True)
        return self._logits(h).log_softmax(-1)

    def _logits(self, h: Tensor) -> Tensor:
        logits = F.linear(h, self.embedding.weight) if self.tied else self.output(h)
        return forbid(logits, self.forbidden)
