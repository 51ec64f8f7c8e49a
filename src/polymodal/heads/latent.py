"""The two ends of a variational autoencoder, for values and for ids: target -> features, and latent vector -> target.

Shapes: B rows, Z latent dimensions, H the width inside, W that of the context.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.heads.autoregressive import Autoregressive
from polymodal.heads.lengths import Lengths
from polymodal.nn.grids import GridDecoder, GridEncoder, canvas
from polymodal.nn.layers import Linear
from polymodal.nn.priors import gaussian_log_prob
from polymodal.nn.random import fold, normal
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Field, Losses, Space

LEAST_VARIANCE = 1e-4
"""Of the likelihood, where values are of about unit scale: finer detail than that is not worth any number of nats."""
MEMORY = 20
"""Moves over which the optimal variance is averaged."""


class Values(nn.Module):
    """Continuous values: convolutions there and back, and a Gaussian likelihood of one variance per channel.

    Args:
        space: Continuous, of 0 to 2 dimensions.
        width: W.
        latent: Z.
        hidden: H.
        channels: Of each level, from the finest to the coarsest; of a vector, the widths of its layers.
        blocks: Residual blocks of each level.
        patch: Side of the patches that the finest level reads and puts out.
        variance: Of the likelihood; None for the one that makes the data likeliest, which is the mean squared error.
            Source: Rybkin et al., "Simple and effective VAE training with calibrated decoders", 2021, section 3.2.

    Raises:
        ConfigError: The grid is not a multiple of the compression.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        latent: int,
        hidden: int,
        channels: tuple[int, ...],
        blocks: int,
        patch: int,
        variance: float | None,
    ) -> None:
        super().__init__()
        self.space, self.optimal = space, variance is None
        grid = canvas(space, channels, patch) if space.grid else ()
        whole = Space("continuous", (space.channels, *grid))  # an axis that varies is seen whole, with its mask
        sizes: dict[str, Any] = {"blocks": blocks, "patch": patch}
        inputs = space.channels + space.variable
        self.encoder = GridEncoder(whole, hidden, channels=channels, inputs=inputs, **sizes)
        self.enter = nn.Sequential(Linear(latent + width + space.variable, hidden, bias=True), nn.SiLU())
        self.decoder = GridDecoder(whole, hidden, channels=channels[::-1], **sizes)
        self.length = Lengths(width, space.max_length) if space.variable else None
        self.missing = grid[-1] - space.shape[-1] if space.variable else 0
        self.variance: Tensor
        self.register_buffer("variance", torch.full((space.channels,), 1.0 if variance is None else variance))

    def features(self, context: Context, target: Field) -> Tensor:
        """(B, H)."""
        value = target.value
        if self.space.variable:
            real = self._spread(target.mask, value)
            value = torch.cat([value * real, real.expand_as(value[:, :1])], dim=1)
            value = F.pad(value, (0, self.space.max_length + self.missing - value.shape[-1]))
        if value.dim() == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        return self.encoder(value)

    def nll(self, z: Tensor, context: Context, target: Field, keys: Tensor, moves: Tensor) -> Tensor:
        """-log p(target | z, context) (B,), in nats; the optimal variance follows the errors in training."""
        error = self._decode(z, context, target.mask)[..., : target.value.shape[-1]] - target.value
        real = self._spread(target.mask, error).expand_as(error).to(error.dtype)
        if self.optimal and self.training:
            with torch.no_grad():
                axes = [axis for axis in range(error.dim()) if axis != 1]
                mean = (error.square() * real).sum(axes) / real.sum(axes)
                self.variance.lerp_(mean, 1 / (moves + 1).clamp(max=MEMORY))
        return -(gaussian_log_prob(error, torch.zeros_like(error), self._log_std()) * real).flatten(1).sum(1)

    def extra(self, context: Context, target: Field) -> Losses:
        """The loss of the length, where it varies."""
        return {} if self.length is None else {"length": self.length.loss(context.pooled, target.lengths)}

    def log_prob_of_length(self, context: Context, target: Field) -> Tensor | float:
        """log p(length | context) (B,); 0 where it does not vary."""
        return 0.0 if self.length is None else -self.length.loss(context.pooled, target.lengths) / Lengths.WEIGHT

    def size(self, target: Field) -> Tensor:
        """Real numbers of each row (B,)."""
        whole = target.value[0].numel()
        return target.lengths * (whole // target.value.shape[-1]) if self.space.variable else target.lengths * whole

    def sample(self, z: Tensor, context: Context, keys: Tensor, *, decoder_temperature: float = 0.0) -> Field:
        """Values for z (B, Z): the likelihood's mean, plus its noise times the temperature."""
        mask = torch.ones(len(z), 1, dtype=torch.bool, device=z.device)
        if self.length is not None:
            mask = self.length.draw(context.pooled, fold(keys, 0))
        value = self._decode(z, context, mask)
        if decoder_temperature:
            value = value + decoder_temperature * self._log_std().exp() * normal(fold(keys, 1), self.space.shape)
        if self.space.variable:
            longest = int(mask.sum(1).max())
            mask = mask[:, :longest]
            value = value[..., :longest] * self._spread(mask, value)
        return Field(value, mask, torch.ones_like(mask[:, 0]))

    def _log_std(self) -> Tensor:
        """Of the likelihood, (1, C, ...)."""
        return 0.5 * self.variance.clamp(min=LEAST_VARIANCE).log().view(1, -1, *[1] * len(self.space.grid))

    def _decode(self, z: Tensor, context: Context, mask: Tensor) -> Tensor:
        """The likelihood's mean (B, C, *grid), where a length varies of the space's whole length."""
        told = [z, context.pooled]
        if self.space.variable:
            told.append(mask.sum(1, keepdim=True) / self.space.max_length)
        value = self.decoder(self.enter(torch.cat(told, dim=1)))
        return value[..., : self.space.max_length] if self.space.variable else value

    @staticmethod
    def _spread(mask: Tensor, value: Tensor) -> Tensor:
        """(B, L) as (B, 1, ..., L), of as many axes as ``value``."""
        return mask.view(len(mask), *[1] * (value.dim() - 2), -1)


class Ids(nn.Module):
    """Ids: a transformer reads them, and an autoregressive head writes them, told of z beside the context.

    Source: Bowman et al., "Generating sentences from a continuous space", 2016.

    Args:
        space: Discrete.
        width: W.
        latent: Z.
        hidden: H.
        depth: Transformer blocks of the reader, and of the writer.
        heads: Attention heads.
        word_dropout: Share of the ids before that the writer does not see in training.

    Raises:
        ConfigError: An option is out of range.
    """

    def __init__(
        self, space: Space, width: int, *, latent: int, hidden: int, depth: int, heads: int, word_dropout: float
    ) -> None:
        super().__init__()
        self.decoder = Autoregressive(
            space, width, depth=depth, heads=heads, width_inside=hidden, word_dropout=word_dropout
        )
        self.embedding = nn.Embedding(space.vocab, hidden)
        self.encoder = Transformer(hidden, depth, heads, rotary=True, context_width=width)
        self.told = Linear(latent, width)

    def features(self, context: Context, target: Field) -> Tensor:
        """(B, H): the mean over the real positions."""
        ids = target.value.long()
        mask = target.mask.expand_as(ids)
        x = self.encoder(self.embedding(ids), mask=mask, context=context.tokens, context_mask=context.mask)
        return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def nll(self, z: Tensor, context: Context, target: Field, keys: Tensor, moves: Tensor) -> Tensor:
        """-log p(target | z, context) (B,), in nats; with word dropout in training."""
        mean = self.decoder.loss(self._with(z, context), target, "model", keys)["nll"]
        return mean * self.size(target)

    def extra(self, context: Context, target: Field) -> Losses:
        """Nothing: the end of a text is one of its ids."""
        return {}

    def log_prob_of_length(self, context: Context, target: Field) -> Tensor | float:
        """0: the end of a text is one of its ids."""
        return 0.0

    def size(self, target: Field) -> Tensor:
        """Real ids of each row (B,)."""
        return target.mask.expand_as(target.value).sum(1)

    def sample(
        self,
        z: Tensor,
        context: Context,
        keys: Tensor,
        *,
        decoder_temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        max_length: int | None = None,
    ) -> Field:
        """Ids for z (B, Z); options as of ``Autoregressive.sample``."""
        return self.decoder.sample(
            self._with(z, context),
            keys,
            temperature=decoder_temperature,
            top_k=top_k,
            top_p=top_p,
            max_length=max_length,
        )

    def _with(self, z: Tensor, context: Context) -> Context:
        """The context with z as one more token, and in the pooled vector."""
        told = self.told(z)
        tokens = torch.cat([context.tokens, told[:, None]], dim=1)
        mask = torch.cat([context.mask, context.mask.new_ones(len(z), 1)], dim=1)
        return Context(tokens, mask, context.pooled + told)
