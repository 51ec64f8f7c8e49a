"""From a vector to a continuous value, with a likelihood: the half that autoencoders and plain decoders share.

Shapes: B rows, Z latent dimensions, W the context's width, values (B, C, *grid).
"""

from typing import Annotated, Any, Literal

import pydantic
import torch
from torch import Tensor, nn

from polymodal.heads.lengths import Lengths
from polymodal.nn.bounds import clamp_to_bounds
from polymodal.nn.grids import GridDecoder
from polymodal.nn.layers import Linear
from polymodal.nn.priors import standard_log_prob
from polymodal.nn.random import fold, normal, open_uniform
from polymodal.nn.shapes import longest
from polymodal.types import Context, Field, Space

Likelihood = Literal["gaussian", "laplace"]

LEAST_VARIANCE = 1e-4
"""Of the likelihood, where values are of about unit scale: finer detail than that is not worth any number of nats."""
Variance = Annotated[float, pydantic.Field(ge=LEAST_VARIANCE)]
MEMORY = 20
"""Moves over which the optimal variance is averaged."""


class ValueDecoder(nn.Module):
    """p(value | z, context): its middle by convolutions, around it one variance per channel.

    Args:
        space: Continuous, of 0 to 2 dimensions.
        width: W.
        latent: Z; 0 where the context is all there is.
        hidden_size: Width inside.
        channels: Channels of each level, from the finest to the coarsest; of a vector, the widths of its layers.
        blocks: Residual blocks of each level.
        patch: Side of the patches that the finest level puts out.
        variance: Of the likelihood; None for the one that makes the data likeliest: the mean squared error of a
            Gaussian, twice the square of the mean error of a Laplace distribution.
            Source: Rybkin et al., "Simple and effective VAE training with calibrated decoders", 2021, section 3.2.
        likelihood: ``gaussian``; ``laplace`` forgives large errors.
    """

    variance: Tensor
    sums: Tensor

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        latent: int,
        hidden_size: int,
        channels: tuple[int, ...],
        blocks: int,
        patch: int,
        variance: float | None,
        likelihood: Likelihood = "gaussian",
    ) -> None:
        super().__init__()
        self.space, self.optimal, self.likelihood = space, variance is None, likelihood
        sizes: dict[str, Any] = {"channels": channels[::-1], "blocks": blocks, "patch": patch}
        self.proj_in = nn.Sequential(Linear(latent + width + space.variable, hidden_size, bias=True), nn.SiLU())
        self.decoder = GridDecoder(space, hidden_size, **sizes)
        self.length = Lengths(width, space.max_length) if space.variable else None
        self.register_buffer("variance", torch.full((space.channels,), 1.0 if variance is None else variance))
        self.register_buffer("sums", torch.zeros(2, space.channels))  # of errors since the last move, and their numbers
        self.register_load_state_dict_pre_hook(_without_sums)

    @torch.no_grad()
    def follow(self, moves: Tensor) -> None:
        """Lets the optimal variance follow the errors of the last move, in all processes and all parts of the step."""
        if not self.optimal:
            return
        sums = self.sums.clone()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        mean = sums[0] / sums[1].clamp(min=1)
        best = mean if self.likelihood == "gaussian" else 2 * mean.square()
        self.variance.lerp_(best, (sums[1] > 0) / moves.clamp(1, MEMORY))
        self.sums.zero_()

    def nll(self, z: Tensor, context: Context, target: Field, keys: Tensor) -> Tensor:
        """-log p(target | z, context) (B,), in nats; in training the errors are kept for the optimal variance."""
        error = self._decode(z, context, target.mask)[..., : target.value.shape[-1]] - target.value
        real = target.real.expand_as(error).to(error.dtype)
        if self.optimal and self.training:
            with torch.no_grad():
                axes = [axis for axis in range(error.dim()) if axis != 1]
                deviation = error.square() if self.likelihood == "gaussian" else error.abs()
                counted = real * target.present.view(-1, *[1] * (error.dim() - 1))
                seen = torch.stack([(deviation * counted).sum(axes), counted.sum(axes)])
                self.sums += seen.where(seen.isfinite().all(), 0)  # else the step is skipped, and must leave no trace
        scale = self._scale()
        if self.likelihood == "gaussian":
            log_prob = standard_log_prob(error / scale) - scale.log()
        else:
            log_prob = -error.abs() / scale - (2 * scale).log()
        return -(log_prob * real).flatten(1).sum(1)

    def size(self, target: Field) -> Tensor:
        """Real numbers of each row (B,)."""
        whole = target.value[0].numel()
        return target.lengths * (whole // target.value.shape[-1]) if self.space.variable else target.lengths * whole

    def sample(
        self,
        z: Tensor,
        context: Context,
        keys: Tensor,
        *,
        decoder_temperature: float = 0.0,
        length_temperature: float = 1.0,
    ) -> Field:
        """Values for z (B, Z): the likelihood's middle, plus its noise times the temperature."""
        mask = torch.ones(len(z), 1, dtype=torch.bool, device=z.device)
        if self.length is not None:
            mask = self.length.draw(context.pooled, fold(keys, 0), length_temperature)
        value = self._decode(z, context, mask)
        if decoder_temperature:
            value = clamp_to_bounds(
                value + decoder_temperature * self._scale() * self._noise(fold(keys, 1)), self.space
            )
        made = Field.full(value, mask, self.space.varies)
        return made.with_value(value).trim(longest(mask)) if self.space.variable else made

    def _scale(self) -> Tensor:
        """Of the likelihood, (1, C, ...): the deviation of a Gaussian, the mean error of a Laplace distribution."""
        variance = self.variance.clamp(min=LEAST_VARIANCE).view(1, -1, *[1] * len(self.space.grid))
        return (variance if self.likelihood == "gaussian" else variance / 2).sqrt()

    def _noise(self, keys: Tensor) -> Tensor:
        """Of unit scale, (B, *shape)."""
        if self.likelihood == "gaussian":
            return normal(keys, self.space.shape)
        u = open_uniform(keys, self.space.shape) - 0.5  # the inverse of the distribution function
        return -u.sign() * torch.log1p(-(2 * u).abs())

    def _decode(self, z: Tensor, context: Context, mask: Tensor) -> Tensor:
        """The likelihood's middle (B, C, *grid), where a length varies of the space's whole length."""
        inputs = [z, context.pooled]
        if self.space.variable:
            inputs.append(mask.sum(1, keepdim=True) / self.space.max_length)
        return clamp_to_bounds(self.decoder(self.proj_in(torch.cat(inputs, dim=1))), self.space)


def _without_sums(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Weights of earlier versions have no sums."""
    state.setdefault(f"{prefix}sums", torch.zeros_like(module.sums))  # type: ignore[arg-type]
