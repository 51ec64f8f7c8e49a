"""A plain decoder: one pass from the context's pooled vector to the whole value, as a joint latent's decoders are."""

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Sizes
from polymodal.heads.base import Head
from polymodal.heads.lengths import Lengths, draw_positions, length_log_prob, length_loss
from polymodal.heads.token_sampling import (
    END,
    DecodingOptions,
    cross_entropy,
    forbid,
    forbidden_ids,
    refuse_other_grids,
    refuse_other_than_sequences,
)
from polymodal.heads.values import Likelihood, ValueDecoder, Variance
from polymodal.nn.grids import usual_levels
from polymodal.nn.layers import Linear
from polymodal.nn.random import fold
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Field, Losses, Space


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """How a value is drawn.

    Attributes:
        temperature: Factor of the likelihood's noise, or divisor of the logits; 0 takes the middle, or the likeliest
            ids.
    """

    temperature: NonNegativeFloat = 0.0


class Decoder(Head):
    """p(field | z), every number or id of it independent of the others given z.

    z is the pooled context, where all that is drawn of the field is decided: it belongs to a fusion whose context is a
    draw from a latent. Behind any other fusion the head gives the mean of all values that the context allows.

    Source: the decoders of Wu and Goodman, "Multimodal generative models for scalable weakly-supervised learning",
    2018, and of those who followed. They weigh the likelihood of a field by its size, so that a picture does not drown
    a label: here all losses are per real number or id, and a recipe's ``weight`` of the field does the rest.

    Args:
        space: Continuous of up to two dimensions, or discrete.
        width: Width of the context.
        hidden_size: Width inside: of the first layer of values, and of the transformer of ids.
        likelihood: Of values: ``gaussian`` or ``laplace``.
        variance: Of values: that of the likelihood; None for the optimal one, per channel.
        channels: Of values: of each level, from the finest to the coarsest; of a vector, the widths of its layers. By
            default up to three levels, as the grid needs.
        blocks: Of values: residual blocks of each level.
        patch: Of values: side of the patches that the finest level puts out. By default as large as leaves the coarsest
            level 8 cells or fewer along each axis.
        depth: Of ids: blocks of the transformer over their places.
        heads: Of ids: attention heads.
        temperature: Default of the sampling option.

    Raises:
        ConfigError: An argument is out of its bounds, or ``heads`` does not divide ``hidden_size``.
    """

    options: DecoderOptions

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        hidden_size: PositiveInt = 192,
        likelihood: Likelihood = "gaussian",
        variance: Variance | None = None,
        channels: Sizes | None = None,
        blocks: NonNegativeInt = 1,
        patch: PositiveInt | None = None,
        depth: NonNegativeInt = 2,
        heads: PositiveInt = 4,
        temperature: NonNegativeFloat = 0.0,
    ) -> None:
        super().__init__()
        self.space, self.options = space, DecoderOptions(temperature=temperature)
        self.ends: ValueDecoder | IdDecoder
        if space.kind == "continuous":
            self.signed = ("nll",)
            self.sizes = usual_levels(space, channels, patch)
            more: dict[str, Any] = {"blocks": blocks, "variance": variance, "likelihood": likelihood}
            self.ends = ValueDecoder(space, width, latent=0, hidden_size=hidden_size, **self.sizes, **more)
        else:
            self.ends = IdDecoder(space, width, hidden_size=hidden_size, depth=depth, heads=heads)
        self.moves: Tensor
        self.register_buffer("moves", torch.zeros(()))

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if space.kind == "discrete":
            return refuse_other_than_sequences("a decoder", space)
        return refuse_other_grids(space)

    def lr_scale(self, player: str, progress: float) -> float:
        if self.training and isinstance(self.ends, ValueDecoder):
            self.ends.follow(self.moves)
            self.moves += 1
        return 1.0

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """``nll`` in nats per real number or id; ``length``, weighted, where lengths vary."""
        nll = self.ends.nll(_nothing(context), context, target, keys)
        return {"nll": nll / self.ends.size(target).clamp(min=1), **length_loss(self.ends.length, context, target)}

    @torch.no_grad()
    def draw(self, context: Context, keys: Tensor, unconditional: Context | None, options: DecoderOptions) -> Field:
        """One value per row, in one pass. There is no guidance."""
        both = {"decoder_temperature": options.temperature, "length_temperature": options.temperature}
        return self.ends.sample(_nothing(context), context, keys, **both)

    @torch.no_grad()
    def log_likelihood(self, context: Context, target: Field, keys: Tensor) -> Tensor:
        """log p(target | z) (B,) of whole rows, their lengths included, in nats. Call it in evaluation mode."""
        nll = self.ends.nll(_nothing(context), context, target, keys)
        return length_log_prob(self.ends.length, context, target) - nll


class IdDecoder(nn.Module):
    """Ids by logits of each place: all places see the context, and a transformer lets them agree.

    Where lengths vary, the length comes first, and END is put at its place.

    Args:
        space: Discrete.
        width: W.
        hidden_size: Width inside.
        depth: Transformer blocks; with 0 no place sees another.
        heads: Attention heads.
    """

    forbidden: Tensor

    def __init__(self, space: Space, width: int, *, hidden_size: int, depth: int, heads: int) -> None:
        super().__init__()
        self.space = space
        self.proj_in = Linear(width, hidden_size, bias=True)
        self.places = nn.Parameter(torch.randn(space.shape[0], hidden_size) * 0.5)
        self.transformer = Transformer(hidden_size, depth, heads)
        self.proj_out = Linear(hidden_size, space.vocab, bias=True)
        self.length = Lengths(width, space.max_length) if space.variable else None
        forbidden = forbidden_ids(space)
        if space.variable:
            forbidden[END] = True  # its place is given by the length
        self.register_buffer("forbidden", forbidden, persistent=False)

    def nll(self, z: Tensor, context: Context, target: Field, keys: Tensor) -> Tensor:
        """-log p(target | context) (B,), in nats."""
        ids = target.value.long()
        log_probs = self._logits(context, target.mask.expand_as(ids)).log_softmax(-1)
        return cross_entropy(log_probs, ids, self._open(target), self.forbidden)

    def size(self, target: Field) -> Tensor:
        """Ids of each row (B,) that do not follow from the length."""
        return self._open(target).sum(1)

    def sample(
        self,
        z: Tensor,
        context: Context,
        keys: Tensor,
        *,
        decoder_temperature: float,
        length_temperature: float,
    ) -> Field:
        """Ids (B, L)."""
        real = draw_positions(self.length, self.space, context.pooled, fold(keys, 0), length_temperature)
        logits, (rows, longest) = self._logits(context, real), real.shape
        # A stream for each place, so that the draws do not depend on the longest row of the batch.
        streams = fold(fold(keys, 1)[:, None], torch.arange(longest, device=keys.device)).flatten()
        ids = (
            DecodingOptions(temperature=decoder_temperature)
            .choose(logits.flatten(0, 1), streams, 0)
            .view(rows, longest)
        )
        if self.length is None:
            mask = real[:, :1]
        else:
            ids, mask = ids.masked_fill(~real, 0).scatter(1, real.sum(1, keepdim=True) - 1, END), real
        return Field.full(ids, mask, self.space.varies)

    def _logits(self, context: Context, real: Tensor) -> Tensor:
        """(B, L, vocab) for places with mask (B, L)."""
        x = self.proj_in(context.pooled)[:, None] + self.places[: real.shape[1]]
        return forbid(self.proj_out(self.transformer(x, mask=real)), self.forbidden)

    def _open(self, target: Field) -> Tensor:
        """(B, L) the places whose ids are to be predicted: those that are real, but for END's."""
        ids = target.value.long()
        return target.mask.expand_as(ids) & ~self.forbidden[ids]


def _nothing(context: Context) -> Tensor:
    """A latent of no dimensions: z is in the context."""
    return context.pooled[:, :0]
