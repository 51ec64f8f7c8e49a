"""Masked head: hidden ids are guessed from those that are seen, all at once, in a few steps, for discrete spaces.

Source: Chang et al., MaskGIT (2022): absorbing discrete diffusion (Austin et al., D3PM, 2021) that chooses its order.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Share
from polymodal.heads.base import Head
from polymodal.heads.lengths import Lengths, draw_positions, length_log_prob, length_loss
from polymodal.heads.token_sampling import (
    END,
    DecodingOptions,
    TopP,
    cross_entropy,
    forbid,
    forbidden_ids,
    gumbel,
    refuse_other_than_sequences,
)
from polymodal.nn.layers import Linear
from polymodal.nn.random import fold, uniform
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Field, Losses, Space

Order = Literal["confidence", "random"]


@dataclass(frozen=True, kw_only=True)
class MaskedOptions(DecodingOptions):
    """How hidden ids are guessed; at temperature 0 the likeliest length and ids are taken, without noise.

    Attributes:
        steps: Most steps; fewer are taken where there are fewer ids.
        order: Which ids a step keeps.
        noise: Standard Gumbel noise on the log-confidence, that much at the start and none at the end.
    """

    steps: PositiveInt = 12
    order: Order = "confidence"
    noise: NonNegativeFloat = 4.5


class Masked(Head):
    """p(ids | context) by a transformer that looks both ways and guesses the ids that are hidden from it.

    In training n of a row's ids are hidden, n and which drawn at random. A sample starts with all ids hidden; every
    step guesses all of them and keeps some, so that the number of steps does not depend on the length. Where lengths
    vary, the length is drawn first and END put at its place.

    Args:
        space: Discrete, of variable length (text, which ends in END) or fixed length (labels, codes).
        width: D, of the context.
        depth: Number of transformer blocks.
        heads: Attention heads; divides ``hidden_size``.
        hidden_size: Width of the transformer; by default D.
        intermediate_size: Inner width of the feed-forward layers; by default 8/3 of ``hidden_size``.
        dropout: Share of each layer's output that is dropped in training.
        ratios: Distribution of the share of hidden ids. ``cosine``, as in MaskGIT, dwells on many, which is where
            samples are decided. ``uniform`` makes the loss a bound on the negative log-likelihood, the order-agnostic
            one (Hoogeboom et al., "Autoregressive diffusion models", 2022, equation 3), of which masked diffusion's
            (Sahoo et al., MDLM, 2024) is the limit for long rows.
        label_smoothing: Share of the target distribution that is spread evenly over all ids.
        repeats: Draws of hidden ids per row and step: the context, which costs more, is computed once for all.
        steps: Most steps of a sample; fewer are taken where there are fewer ids.
        order: Which ids are kept: those guessed with the most ``confidence``, or ``random`` ones, which makes a sample
            one of the distribution that ``log_likelihood`` bounds as the steps grow.
        noise: Standard Gumbel noise on the log-confidence, that much at the start and none at the end, so that samples
            differ; 4.5 is that of MaskGIT's authors. With little of it, rare ids, which are unsure, are drawn again and
            again until they are common ones.
        guidance: Default of the sampling option; see ``DecodingOptions``.
        temperature: Default of the sampling option.
        top_p: Default of the sampling option.

    Raises:
        ConfigError: An argument is out of its bounds, or ``heads`` does not divide the width.
    """

    options: MaskedOptions

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
        ratios: Literal["cosine", "uniform"] = "cosine",
        label_smoothing: Share = 0.0,
        repeats: PositiveInt = 2,
        steps: PositiveInt = 12,
        order: Order = "confidence",
        noise: NonNegativeFloat = 4.5,
        guidance: NonNegativeFloat = 1.0,
        temperature: NonNegativeFloat = 1.0,
        top_p: TopP = 1.0,
    ) -> None:
        super().__init__()
        self.options = MaskedOptions(
            guidance=guidance, temperature=temperature, top_p=top_p, steps=steps, order=order, noise=noise
        )
        hidden_size = hidden_size or width
        self.space, self.ratios, self.label_smoothing, self.repeats = space, ratios, label_smoothing, repeats
        self.hidden_id = space.vocab
        self.embedding = nn.Embedding(space.vocab + 1, hidden_size)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions = nn.Parameter(torch.randn(space.shape[0], hidden_size) * 0.02)
        self.summary = Linear(width, hidden_size, bias=True)
        self.transformer = Transformer(
            hidden_size, depth, heads, context_width=width, intermediate_size=intermediate_size, dropout=dropout
        )
        self.bias = nn.Parameter(torch.zeros(space.vocab))
        self.length = Lengths(width, space.max_length) if space.variable else None
        forbidden = forbidden_ids(space)
        if space.variable:
            forbidden[END] = True  # its place is given by the length
        self.forbidden: Tensor
        self.register_buffer("forbidden", forbidden, persistent=False)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return refuse_other_than_sequences("a masked", space)

    def logits(self, ids: Tensor, real: Tensor, context: Context) -> Tensor:
        """Logits (B * k, L, vocab) of the ids (B * k, L), some hidden, with mask (B * k, L); each k share a context."""
        copies = len(ids) // len(context.pooled)
        x = self.embedding(ids) + self.positions[: ids.shape[1]]
        x = x + self.summary(context.pooled).repeat_interleave(copies, 0)[:, None]
        x = self.transformer(x, mask=real, context=context.tokens, context_mask=context.mask)
        return forbid(F.linear(x, self.embedding.weight[:-1], self.bias), self.forbidden)

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """``nll``: negative log-likelihood of a hidden id, in nats; ``length``, weighted, where lengths vary."""
        bound, count = self._draws(context, target, keys, self.repeats, self.ratios, self.label_smoothing)
        nll = (bound / count.clamp(min=1)).view(-1, self.repeats).mean(1)
        return {"nll": nll, **length_loss(self.length, context, target)}

    def log_likelihood(self, context: Context, target: Field, keys: Tensor, draws: int = 16) -> Tensor:
        """(B,) an unbiased estimate of a lower bound on log p(target | context) of whole rows, in nats."""
        bound, _ = self._draws(context, target, keys, draws, "uniform")
        return length_log_prob(self.length, context, target) - bound.view(-1, draws).mean(1)

    def _draws(
        self, context: Context, target: Field, keys: Tensor, draws: int, ratios: str, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """For ``draws`` draws of hidden ids per row: N times the mean loss of a hidden id (B * draws,), and N.

        N is the number of a row's ids that can be hidden at all.
        """
        rows, longest = target.value.shape
        index = torch.arange(rows, device=keys.device).repeat_interleave(draws)
        draw = torch.arange(draws, device=keys.device).repeat(rows)
        ids, real = target.value.long()[index], target.mask.expand(rows, longest)[index]
        keys = fold(keys[index], draw)
        open_ids = real & ~self.forbidden[ids]
        count = open_ids.sum(1)
        share = (draw + uniform(fold(keys, 0))) / draws  # stratified over [0, 1): less variance
        if ratios == "cosine":
            number = (torch.cos(share * (math.pi / 2)) * count).ceil()
        else:
            number = (share * count).floor() + 1
        score = uniform(fold(keys, 1), (longest,)).masked_fill(~open_ids, 2.0)
        hidden = (ranks(score) < number.clamp(min=1)[:, None]) & open_ids
        log_probs = self.logits(ids.masked_fill(hidden, self.hidden_id), real, context).log_softmax(-1)
        loss = cross_entropy(log_probs, ids, hidden, self.forbidden, smoothing)
        return loss / hidden.sum(1).clamp(min=1) * count, count

    def draw(self, context: Context, keys: Tensor, unconditional: Context | None, options: MaskedOptions) -> Field:
        """Ids (B, L), all positions at once, in a few steps.

        Raises:
            ConfigError: Guidance is asked for without an unconditional context.
        """
        contexts = options.guided(context, unconditional)
        with torch.inference_mode():
            real = draw_positions(self.length, self.space, context.pooled, fold(keys, 0), options.temperature)
            ids = self._fill(contexts, real, keys, options)
        mask = real.clone() if self.space.variable else torch.ones_like(real[:, :1])
        return Field.full(ids.clone(), mask, self.space.varies)

    def _fill(self, context: Context, real: Tensor, keys: Tensor, options: MaskedOptions) -> Tensor:
        """Ids (B, L). With guidance, ``context`` holds the B unconditional rows after the B rows."""
        rows, longest = real.shape
        ids = torch.zeros(rows, longest, dtype=torch.long, device=keys.device).masked_fill(real, self.hidden_id)
        if self.space.variable:
            last = real.sum(1, keepdim=True) - 1
            ids.scatter_(1, last, END)
        hidden = ids == self.hidden_id
        count = hidden.sum(1, keepdim=True)
        repeats = len(context.pooled) // max(rows, 1)
        places = torch.arange(longest, device=keys.device)
        noise = options.noise if options.temperature else 0.0
        for step in range(options.steps):
            # MaskGIT's schedule for any number of ids: few are kept at first, when little is known.
            left = 1 - (step + 1) / options.steps
            number = (count * math.sin(left * math.pi / 2)).floor()
            if not bool((number < hidden.sum(1, keepdim=True)).any()):
                continue  # no row has an id to keep
            logits = self.logits(ids.repeat(repeats, 1), real.repeat(repeats, 1), context)
            if repeats > 1:
                logits = torch.lerp(logits[rows:], logits[:rows], options.guidance)
            # A stream for each position, so that the draws do not depend on the longest row of the batch.
            streams = fold(fold(keys, 1 + 2 * step)[:, None], places).flatten()
            guess = options.choose(logits.flatten(0, 1), streams, 0).view(rows, longest)
            confidence = logits.log_softmax(-1).gather(2, guess[..., None]).squeeze(2)
            spread = gumbel(fold(keys, 2 + 2 * step), (longest,))
            confidence = spread if options.order == "random" else confidence + noise * left * spread
            keep = ranks(confidence.masked_fill(~hidden, math.inf)) >= number
            ids = torch.where(hidden & keep, guess, ids)
            hidden = hidden & ~keep
        return ids


def ranks(x: Tensor) -> Tensor:
    """Place of each number (B, L) in its row in ascending order."""
    return x.argsort(dim=1, stable=True).argsort(dim=1)
