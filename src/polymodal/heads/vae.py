"""Conditional variational autoencoder, for values (pictures, spectrograms, vectors) and for ids (text, labels, codes).

Source: Kingma and Welling, "Auto-encoding variational Bayes", 2014; Sohn et al., "Learning structured output
representation using deep conditional generative models", 2015.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from polymodal.arguments import Share, Sizes
from polymodal.heads.base import Head
from polymodal.heads.lengths import length_log_prob, length_loss
from polymodal.heads.likelihoods import Ids, Values
from polymodal.heads.token_sampling import TopP, check_length, refuse_other_grids, refuse_other_than_sequences
from polymodal.heads.values import Variance
from polymodal.nn.grids import usual_levels
from polymodal.nn.layers import Linear
from polymodal.nn.priors import Prior, PriorKind, gaussian_log_prob
from polymodal.nn.random import fold, normal
from polymodal.types import Context, Field, Losses, Space

ACTIVE = 0.01
"""Least variance of the posterior's mean over the rows by which a unit is active."""


@dataclass(frozen=True, kw_only=True)
class ValueOptions:
    """How a value is drawn.

    Attributes:
        temperature: Factor of the prior's noise; 0 takes its middle.
        decoder_temperature: Factor of the likelihood's noise; 0 takes its middle.
        length_temperature: Divides the logits of the length, where it varies; 0 takes the likeliest.
    """

    temperature: NonNegativeFloat = 1.0
    decoder_temperature: NonNegativeFloat = 0.0
    length_temperature: NonNegativeFloat = 1.0


@dataclass(frozen=True, kw_only=True)
class IdOptions:
    """How ids are drawn.

    Attributes:
        temperature: Factor of the prior's noise; 0 takes its middle.
        decoder_temperature: Divides the logits of the ids; 0 takes the likeliest.
        top_k: Draw from the ``top_k`` likeliest ids only; 0 for all.
        top_p: Draw from the fewest ids that have this probability together.
        max_length: Bound on the length, END included; by default and at most the space's.
    """

    temperature: NonNegativeFloat = 1.0
    decoder_temperature: NonNegativeFloat = 1.0
    top_k: NonNegativeInt = 0
    top_p: TopP = 1.0
    max_length: PositiveInt | None = None


class VariationalAutoencoder(Head):
    """p(field | context) = integral of p(field | z, context) p(z | context) over a latent vector z.

    The posterior q(z | field, context) is a Gaussian with independent dimensions.

    Args:
        space: Continuous of up to two dimensions, or discrete.
        width: Width of the context.
        latent: Dimensions of z.
        prior: p(z | context): ``standard``, ``conditional`` or ``flow``; see ``nn.priors``.
        hidden_size: Width inside: of the features from which z is read, and of the transformers of ids.
        kl_weight: Of the divergence of the posterior from the prior (Higgins et al., "beta-VAE", 2017).
        anneal: Steps over which that weight climbs from 0, lest the decoder learn to do without z before z holds any
            information (Bowman et al., "Generating sentences from a continuous space", 2016).
        free_nats: Divergence per latent dimension and row that costs nothing, for the same reason (Kingma et al.,
            "Improved variational inference with inverse autoregressive flow", 2016, equation 15, without the mean
            over rows). With the prior ``flow``, whose divergence has no parts, it is ``latent`` times as much of all.
        channels: Of values: of each level, from the finest to the coarsest; of a vector, the widths of its layers. By
            default up to three levels, as the grid needs.
        blocks: Of values: residual blocks of each level.
        patch: Of values: side of the patches that the finest level reads and puts out. By default as large as leaves
            the coarsest level 8 cells or fewer along each axis.
        variance: Of values: that of the likelihood; None for the optimal one, per channel.
        depth: Of ids: transformer blocks of the encoder, and of the decoder.
        heads: Of ids: attention heads.
        word_dropout: Of ids: share of the ids before that the decoder does not see in training, so that it must look
            at z.
        temperature: Default of the sampling option, the factor of the prior's noise; below 1, samples are more typical
            and less diverse.

    Raises:
        ConfigError: An argument is out of its bounds.
    """

    options: ValueOptions | IdOptions

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        latent: PositiveInt = 32,
        prior: PriorKind = "conditional",
        hidden_size: PositiveInt = 192,
        kl_weight: NonNegativeFloat = 1.0,
        anneal: NonNegativeInt = 0,
        free_nats: NonNegativeFloat = 0.0,
        channels: Sizes | None = None,
        blocks: NonNegativeInt = 1,
        patch: PositiveInt | None = None,
        variance: Variance | None = None,
        depth: PositiveInt = 2,
        heads: PositiveInt = 4,
        word_dropout: Share = 0.3,
        temperature: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.space, self.latent = space, latent
        self.kl_weight, self.anneal, self.free_nats = kl_weight, anneal, free_nats
        sizes: dict[str, Any] = {"latent": latent, "hidden_size": hidden_size}
        self.ends: Values | Ids
        if space.kind == "continuous":
            self.signed = ("nll",)
            self.options = ValueOptions(temperature=temperature)
            self.sizes = usual_levels(space, channels, patch)
            self.ends = Values(space, width, **sizes, **self.sizes, blocks=blocks, variance=variance)
        else:
            self.options = IdOptions(temperature=temperature)
            self.ends = Ids(space, width, **sizes, depth=depth, heads=heads, word_dropout=word_dropout)
        self.proj_context = Linear(width, hidden_size, bias=True)
        self.moments = Linear(hidden_size, 2 * latent, bias=True)
        self.prior = Prior(latent, width, kind=prior)
        self.moves: Tensor
        self.register_buffer("moves", torch.zeros(()))

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return refuse_other_than_sequences("a vae", space) if space.kind == "discrete" else refuse_other_grids(space)

    def posterior(self, context: Context, target: Field) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the deviation of q(z | target, context), (B, Z) each."""
        h = F.silu(self.ends.features(context, target) + self.proj_context(context.pooled))
        mean, log_std = self.moments(h).chunk(2, dim=1)
        return mean, log_std.clamp(-8, 3)

    def lr_scale(self, player: str, progress: float) -> float:
        if self.training:
            if isinstance(self.ends, Values):
                self.ends.follow(self.moves)
            self.moves += 1
        return 1.0

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """``nll`` and weighted ``kl``, the evidence bound's two parts, in nats per real element; ``length``."""
        mean, log_std = self.posterior(context, target)
        z = mean + log_std.exp() * normal(fold(keys, 0), (self.latent,))
        nll = self.ends.nll(z, context, target, fold(keys, 1))
        kl = self.prior.divergence(mean, log_std, z, context.pooled)
        if self.free_nats:
            kl = kl.clamp(min=self.free_nats * self.latent / kl.shape[1])
        weight: Tensor | float = self.kl_weight
        if self.training and self.anneal:
            weight = weight * ((self.moves - 1) / self.anneal).clamp(0, 1)
        size = self.ends.size(target)
        return {"nll": nll / size, "kl": weight * kl.sum(1) / size, **length_loss(self.ends.length, context, target)}

    def check_options(self, options: ValueOptions | IdOptions) -> None:
        if isinstance(options, IdOptions):
            check_length(self.space, options.max_length)

    @torch.no_grad()
    def draw(
        self, context: Context, keys: Tensor, unconditional: Context | None, options: ValueOptions | IdOptions
    ) -> Field:
        """One value per row, in one pass for values and from left to right for ids. There is no guidance."""
        of_decoder = asdict(options)
        noise = of_decoder.pop("temperature") * normal(fold(keys, 0), (self.latent,))
        return self.ends.sample(self.prior.colour(noise, context.pooled), context, fold(keys, 1), **of_decoder)

    @torch.no_grad()
    def log_likelihood(self, context: Context, target: Field, keys: Tensor, *, samples: int = 64) -> Tensor:
        """A lower bound (B,) of log p(target | context) in nats, the tighter the more samples; exact in the limit.

        Call it in evaluation mode.

        Source: Burda et al., "Importance weighted autoencoders", 2016, equation 8.

        Args:
            context: B rows.
            target: B rows.
            keys: (B,).
            samples: Draws of z from the posterior.
        """
        mean, log_std = self.posterior(context, target)
        weights = []
        for number in range(samples):
            stream = fold(keys, number)
            z = mean + log_std.exp() * normal(stream, (self.latent,))
            log_joint = self.prior.log_prob(z, context.pooled) - self.ends.nll(z, context, target, stream)
            weights.append(log_joint - gaussian_log_prob(z, mean, log_std).sum(1))
        bound = torch.stack(weights).logsumexp(0) - math.log(samples)
        return bound + length_log_prob(self.ends.length, context, target)

    @torch.no_grad()
    def active_units(self, context: Context, target: Field) -> int:
        """Number of latent dimensions that hold information: whose posterior mean, whitened by the prior, varies.

        With the prior ``standard`` these are the active units of Burda et al., "Importance weighted autoencoders",
        2016, section 5.1. A prior that depends on the context predicts some of the variation, which does not count.

        Args:
            context: B rows, some hundred.
            target: B rows.
        """
        surprise, _ = self.prior.whiten(self.posterior(context, target)[0], context.pooled)
        return int((surprise.var(0) > ACTIVE).sum())
