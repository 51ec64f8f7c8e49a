"""A mixture of Gaussians whose weights, means and deviations follow from the context: numbers with a likelihood.

Source: Bishop, "Mixture density networks", 1994.
"""

import math
from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Share
from polymodal.heads.base import Head
from polymodal.nn.layers import Linear
from polymodal.nn.priors import gaussian_log_prob
from polymodal.nn.random import fold, normal, uniform
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Field, Losses, Space

LEAST_STD = 0.02
"""Of a component, in standard deviations of the training values: without a floor one row can be worth any number of
nats."""
POINTS = 16
"""Values that stand for a component where the distribution is asked for by values and weights."""


@dataclass(frozen=True, kw_only=True)
class MixtureOptions:
    """How numbers are drawn.

    Attributes:
        temperature: Factor of the deviations; 0 takes the mean of the distribution.
    """

    temperature: NonNegativeFloat = 1.0


class MixtureDensity(Head):
    """p(numbers | context) of a few numbers, which are independent within a component.

    It needs one evaluation where a flow needs many, learns a number from hundreds of rows, and knows its distribution
    in closed form.

    Args:
        space: Continuous (size,).
        width: Width of the context.
        components: Gaussians.
        hidden_size: Units between the context and the distribution; those of the context if not given.
        depth: Transformer blocks in which the pooled context reads the tokens; 0 sees the pooled context alone.
        heads: Attention heads.
        dropout: Share of the hidden units that are dropped in training.
        temperature: Default of the sampling option.
    """

    options: MixtureOptions

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        components: PositiveInt = 5,
        hidden_size: PositiveInt | None = None,
        depth: NonNegativeInt = 1,
        heads: PositiveInt = 4,
        dropout: Share = 0.1,
        temperature: NonNegativeFloat = 1.0,
    ):
        super().__init__()
        self.space, self.components = space, components
        self.options = MixtureOptions(temperature=temperature)
        hidden_size = hidden_size or width
        self.transformer = Transformer(width, depth, heads, context_width=width, dropout=dropout) if depth else None
        self.hidden = nn.Sequential(Linear(width, hidden_size, bias=True), nn.SiLU(), nn.Dropout(dropout))
        self.moments = Linear(hidden_size, components * (1 + 2 * space.channels), bias=True, zero=True)
        # Components that start alike would stay alike; these start evenly spread over the training values.
        start = torch.linspace(-1.0, 1.0, components + 2)[1:-1, None].expand(components, space.channels)
        self.start: Tensor
        self.register_buffer("start", start.clone(), persistent=False)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None if space.kind == "continuous" and not space.grid else "models vectors (size,)"

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """``nll``: negative log-likelihood per number, in nats."""
        return {"nll": -self.log_likelihood(context, target, keys) / self.space.channels}

    def log_likelihood(self, context: Context, target: Field, keys: Tensor) -> Tensor:
        """(B,) log p(target | context), in nats of the standardised numbers."""
        log_weights, means, log_stds = self._distribution(context)
        each = gaussian_log_prob(target.value[:, None], means, log_stds).sum(2)
        return torch.logsumexp(each + log_weights, dim=1)

    @torch.no_grad()
    def draw(self, context: Context, keys: Tensor, unconditional: Context | None, options: MixtureOptions) -> Field:
        log_weights, means, log_stds = self._distribution(context)
        if options.temperature == 0:
            return Field.full((log_weights.exp()[..., None] * means).sum(1))
        reach = log_weights.exp().cumsum(1)
        chosen = (reach < uniform(fold(keys, 1))[:, None]).sum(1).clamp(max=self.components - 1)
        row = torch.arange(len(keys), device=keys.device)
        noise = normal(fold(keys, 0), self.space.shape)
        return Field.full(means[row, chosen] + options.temperature * log_stds[row, chosen].exp() * noise)

    @torch.no_grad()
    def support(self, context: Context) -> tuple[Tensor, Tensor]:
        """Quantiles of each component."""
        log_weights, means, log_stds = self._distribution(context)
        ranks = (torch.arange(POINTS, device=means.device) + 0.5) / POINTS
        points = torch.special.ndtri(ranks)
        points = points / points.square().mean().sqrt()  # of unit variance, as what they stand for
        values = means + log_stds.exp() * points[:, None, None, None]
        weights = log_weights.exp().expand(POINTS, -1, -1) / POINTS
        return values.transpose(1, 2).flatten(0, 1), weights.transpose(1, 2).flatten(0, 1)

    def _distribution(self, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of the weights (B, K), means and logarithms of the deviations (B, K, size)."""
        x = context.pooled[:, None]
        if self.transformer is not None:
            x = self.transformer(x, context=context.tokens, context_mask=context.mask)
        out = self.moments(self.hidden(x[:, 0])).float()
        logits, means, raw = out.split([self.components, *[self.components * self.space.channels] * 2], dim=1)
        shape = (len(out), self.components, self.space.channels)
        # The softplus of 0.54 is 1: the deviation of what is standardised.
        stds = LEAST_STD + nn.functional.softplus(raw + math.log(math.e - 1))
        return logits.log_softmax(1), self.start + means.view(shape), stds.log().view(shape)
