"""Recurrent head: an LSTM, with or without attention to the context, for discrete spaces."""

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
from polymodal.nn.layers import Linear
from polymodal.types import Context, Field, Losses, Space

State = tuple[Tensor, Tensor]
"""Hidden and cell state of an LSTM, (depth, B, hidden_size) each."""


class Recurrent(Head):
    """p(ids | context) = product over positions of p(id | ids before, context).

    The pooled context is the LSTM's first input and, through a layer, its first state. What the LSTM puts out is then
    joined with a view of the context: with attention, the mean of its tokens that attention weighs; without, the
    pooled context again. None of this goes back into the LSTM, so that training stays one fused operation.

    Source: Vinyals et al., "Show and tell" (2015), section 3.1; the first state: Xu et al., "Show, attend and tell"
    (2015), section 3.1.2; attention: Luong et al., "Effective approaches to attention-based neural machine translation"
    (2015), equations 5 and 8 ("general"); without it: the multimodal layer of Mao et al., "Deep captioning with
    multimodal recurrent neural networks" (2015), equation 3.

    Args:
        space: Discrete, of variable length (text, which ends in END) or fixed length (labels, codes).
        width: D, of the context.
        depth: LSTM layers.
        hidden_size: Width of the LSTM; by default D.
        attention: Whether it looks at the context's tokens, or sees the pooled context only.
        dropout: Share of what goes in and out of the LSTM's layers that is dropped in training.
        word_dropout: Share of the ids before that are hidden in training; see ``Autoregressive``.
        label_smoothing: Share of the target distribution that is spread evenly over all ids.
        tie_embeddings: Whether the output layer is the embedding's transpose.
        guidance: Default of the sampling option; see ``SequenceOptions``.
        temperature: Default of the sampling option.
        top_p: Default of the sampling option.

    Raises:
        ConfigError: An argument is out of its bounds.
    """

    options: SequenceOptions

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        depth: PositiveInt = 1,
        hidden_size: PositiveInt | None = None,
        attention: bool = True,
        dropout: Share = 0.0,
        word_dropout: Share = 0.0,
        label_smoothing: Share = 0.0,
        tie_embeddings: bool = True,
        guidance: NonNegativeFloat = 1.0,
        temperature: NonNegativeFloat = 1.0,
        top_p: TopP = 1.0,
    ) -> None:
        super().__init__()
        self.options = SequenceOptions(guidance=guidance, temperature=temperature, top_p=top_p)
        hidden_size = hidden_size or width
        self.space, self.depth = space, depth
        self.dropout, self.word_dropout, self.label_smoothing = dropout, word_dropout, label_smoothing
        self.begin = Linear(width, hidden_size, bias=True)
        self.state = Linear(width, 2 * depth * hidden_size, bias=True)
        self.embedding = nn.Embedding(space.vocab, hidden_size)
        nn.init.normal_(self.embedding.weight, std=hidden_size**-0.5)  # as wide as what ``begin`` puts out
        self.lstm = nn.LSTM(hidden_size, hidden_size, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)
        self.query = Linear(hidden_size, width) if attention else None
        self.combine = Linear(width + hidden_size, hidden_size)
        self.output = None if tie_embeddings else Linear(hidden_size, space.vocab)
        self.forbidden: Tensor
        self.register_buffer("forbidden", forbidden_ids(space), persistent=False)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return refuse_other_than_sequences("a recurrent", space)

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
        state: State | None = None

        def step(before: Tensor | None) -> Tensor:
            nonlocal state
            x = self.begin(context.pooled) if before is None else self.embedding(before)
            out, state = self.lstm(x[:, None], state or self._first_state(context))
            return self._logits(out, context)[:, 0]

        return decode(self.space, keys, step, options)

    def _first_state(self, context: Context) -> State:
        state = self.state(context.pooled).tanh().unflatten(1, (2, self.depth, self.lstm.hidden_size))
        hidden, cell = state.permute(1, 2, 0, 3).contiguous()
        return hidden, cell

    def _log_probs(self, context: Context, target: Field, keys: Tensor | None = None) -> Tensor:
        """Log-probabilities (B, L, vocab) of each position given those before."""
        # Padding comes last and an LSTM looks back only, so that no real position sees any.
        before = self.embedding(target.value[:, :-1].long())
        if keys is not None and self.word_dropout:
            before = forget(before, keys, self.word_dropout)
        x = torch.cat([self.begin(context.pooled)[:, None], before], dim=1)
        out, _ = self.lstm(F.dropout(x, self.dropout, self.training), self._first_state(context))
        return self._logits(F.dropout(out, self.dropout, self.training), context).log_softmax(-1)

    def _logits(self, out: Tensor, context: Context) -> Tensor:
        """Logits (B, L, vocab) from what the LSTM puts out (B, L, hidden_size)."""
        view = context.pooled[:, None].expand(-1, out.shape[1], -1)
        if self.query is not None:  # one head; queries are scaled by the root of their width
            tokens, mask = context.tokens[:, None], context.mask[:, None, None]
            view = F.scaled_dot_product_attention(self.query(out)[:, None], tokens, tokens, mask)[:, 0]
        out = self.combine(torch.cat([view, out], dim=2)).tanh()
        logits = F.linear(out, self.embedding.weight) if self.output is None else self.output(out)
        return forbid(logits, self.forbidden)
