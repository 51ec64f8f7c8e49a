"""How ids are drawn, from left to right and otherwise: what the heads of discrete spaces share.

Shapes: B rows, L positions, ids in ``[0, vocab)``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import pydantic
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn import functional

from polymodal.errors import ConfigError
from polymodal.nn.random import fold, open_uniform, uniform
from polymodal.types import Context, Field, Space

PAD, END, BEGIN = 0, 1, 2
"""Ids of a space of variable length. A stored sequence ends in END; PAD and BEGIN are never predicted."""

Step = Callable[[Tensor | None], Tensor]
"""Logits (rows, vocab) of the next id from the ids before it (rows,), None at the first position. It holds the state
of one generation."""

TopP = Annotated[float, pydantic.Field(gt=0, le=1)]
"""A probability of which the likeliest ids together have at least as much."""


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """How ids are drawn.

    Attributes:
        guidance: Weight of the context: logits are unconditional + guidance * (conditional - unconditional).
        temperature: Divides the logits; 0 takes the likeliest id.
        top_k: Draw from the ``top_k`` likeliest ids only; 0 for all.
        top_p: Draw from the fewest ids that have this probability together (Holtzman et al., 2020).
    """

    guidance: NonNegativeFloat = 1.0
    temperature: NonNegativeFloat = 1.0
    top_k: NonNegativeInt = 0
    top_p: TopP = 1.0

    def guided(self, context: Context, unconditional: Context | None) -> Context:
        """The rows that are to be computed: those of the context, with guidance followed by the unconditional ones.

        Raises:
            ConfigError: Guidance is asked for without an unconditional context.
        """
        if self.guidance == 1.0:
            return context
        if unconditional is None:
            raise ConfigError(f"guidance: {self.guidance} needs an unconditional context; without one it must be 1")
        return context.beside(unconditional)

    def choose(self, logits: Tensor, keys: Tensor, number: int) -> Tensor:
        """Ids (B,), drawn from ``logits`` (B, vocab), each row by stream ``number`` of its key."""
        if self.temperature == 0:
            return logits.argmax(-1)
        logits = logits / self.temperature
        if 0 < self.top_k < logits.shape[-1]:
            logits = logits.masked_fill(logits < logits.topk(self.top_k).values[:, -1:], -math.inf)
        if self.top_p < 1:
            ordered, order = logits.sort(descending=True)
            before = functional.pad(ordered.softmax(-1).cumsum(-1)[..., :-1], (1, 0))
            logits = logits.masked_fill((before >= self.top_p).scatter(-1, order, before >= self.top_p), -math.inf)
        # The Gumbel-max trick. Matrix products round differently in batches of different sizes; an argmax, unlike a
        # sum of probabilities, feels that only in a near tie, so that a row's draw does not depend on its batch.
        return (logits + gumbel(fold(keys, number), logits.shape[1:])).argmax(-1)


@dataclass(frozen=True, kw_only=True)
class SequenceOptions(DecodingOptions):
    """How ids are drawn from left to right.

    Attributes:
        max_length: Bound on the length, END included; by default and at most the space's. Only values whose length
            varies have one.
    """

    max_length: PositiveInt | None = None


def gumbel(keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Standard Gumbel numbers (B, *shape)."""
    return -open_uniform(keys, shape).log().neg().log()


def check_length(space: Space, length: int | None) -> None:
    """Refuses a bound on the length of values in ``space``.

    Raises:
        ConfigError: It is more than the longest value has, or all values have one length.
    """
    longest = space.shape[0]
    if length is not None and not space.variable and length != longest:
        raise ConfigError(f"max_length: {length} is given, but all values have {longest} positions; leave it out")
    if length is not None and length > longest:
        raise ConfigError(f"max_length: {length} is more than the {longest} positions of the longest value")


def refuse_other_than_sequences(kind: str, space: Space) -> str | None:
    """The reason why a head of sequences of ids cannot model ``space``; None if it can."""
    if space.kind != "discrete":
        return f"{kind} head models discrete spaces; this one is continuous"
    if len(space.shape) != 1:
        return f"{kind} head models sequences; this space has {len(space.shape)} axes"
    return None


def refuse_other_grids(space: Space) -> str | None:
    """The reason why a head that draws a grid at once, by convolutions, cannot model ``space``; None if it can."""
    if space.is_set:
        return "models values whose places have an order, not sets"
    if len(space.grid) > 2:
        return f"models grids of up to two dimensions; this one has {len(space.grid)}"
    return None if space.varies_last else "models values of which the last axis varies, or none"


def forbidden_ids(space: Space) -> Tensor:
    """(vocab,) the ids that are never predicted."""
    forbidden = torch.zeros(space.vocab, dtype=torch.bool)
    if space.variable:
        forbidden[[PAD, BEGIN]] = True
    return forbidden


def forbid(logits: Tensor, forbidden: Tensor) -> Tensor:
    """Logits (..., vocab) without the forbidden ids, as float32; finite, so that the loss of padding is no NaN."""
    return logits.masked_fill(forbidden, torch.finfo(logits.dtype).min / 2).float()


def forget(embedded: Tensor, keys: Tensor, share: float) -> Tensor:
    """Embeddings (B, L, D) of the ids before, of which a ``share`` is replaced by zeros, which are no id's embedding.

    Source: Bowman et al., "Generating sentences from a continuous space" (2016), section 3.1, whose stand-in is the
    vector of an unknown word. An id of the space would be taken for itself where it is a real one.
    """
    forgotten = uniform(fold(keys, 0), embedded.shape[1:2]) < share
    return embedded.masked_fill(forgotten[..., None], 0.0)


def cross_entropy(log_probs: Tensor, ids: Tensor, counted: Tensor, forbidden: Tensor, smoothing: float = 0.0) -> Tensor:
    """Negative log-likelihoods (B,) of ``ids`` (B, L) from log-probabilities (B, L, vocab).

    Args:
        log_probs: Of all ids.
        ids: The real ones.
        counted: (B, L) the positions that are summed over.
        forbidden: (vocab,).
        smoothing: Share of the target distribution that is spread evenly over the ids that are not forbidden.
    """
    loss = -log_probs.gather(-1, ids[..., None]).squeeze(-1)
    if smoothing:
        even = -log_probs.masked_fill(forbidden, 0.0).sum(-1) / (~forbidden).sum()
        loss = torch.lerp(loss, even, smoothing)
    return loss.masked_fill(~counted, 0.0).sum(1)


def sequence_nll(log_probs: Tensor, target: Field, forbidden: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """(B,) negative log-likelihoods in nats, from log-probabilities (B, L, vocab), and (B,) counts of real ids."""
    ids, real = target.value.long(), target.mask.expand_as(target.value)
    return cross_entropy(log_probs, ids, real, forbidden, smoothing), real.sum(1).clamp(min=1)


def decode(space: Space, keys: Tensor, step: Step, options: SequenceOptions) -> Field:
    """Ids (B, L), drawn from left to right until every row has ended.

    Args:
        space: Space of the ids.
        keys: (B,) random keys of the rows.
        step: The network; with guidance it has the B unconditional rows after the B rows.
        options: How ids are drawn.
    """
    with torch.inference_mode():
        ids = _decode(space, keys, step, options)
    ids = ids.clone()  # a tensor made in inference mode could never be trained on
    mask = ids != PAD if space.variable else torch.ones_like(ids[:, :1], dtype=torch.bool)
    return Field.full(ids, mask, space.varies)


def _decode(space: Space, keys: Tensor, step: Step, options: SequenceOptions) -> Tensor:
    rows, length, repeats = len(keys), options.max_length or space.shape[0], 1 if options.guidance == 1.0 else 2
    ids = torch.zeros(rows, length, dtype=torch.long, device=keys.device)
    ended = torch.zeros(rows, dtype=torch.bool, device=keys.device)
    before = None
    for position in range(length):
        logits = step(before)
        if repeats > 1:
            logits = torch.lerp(logits[rows:], logits[:rows], options.guidance)
        chosen = options.choose(logits, keys, position)
        if space.variable:
            chosen = chosen.masked_fill(ended, PAD)
            ended |= chosen == END
        ids[:, position] = chosen
        if space.variable and bool(ended.all()):
            return ids[:, : position + 1]
        before = chosen if repeats == 1 else chosen.repeat(repeats)
    return ids
