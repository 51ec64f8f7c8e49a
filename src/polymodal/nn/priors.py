"""Distributions of a latent vector given a context: the noise of a standard normal, carried by an invertible map.

Shapes: B rows, Z latent dimensions, W the context's width.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.nn.layers import Linear

PriorKind = Literal["standard", "conditional", "flow"]

BOUND = 3.0
"""Natural logarithm of the most by which one coupling stretches or shrinks a dimension."""


class Coupling(nn.Module):
    """Each half of the vector, with the context, scales and shifts the other. It starts as the identity.

    Source: Dinh et al., "Density estimation using real NVP", 2017, section 3.3.

    Args:
        latent: Z, even.
        width: W.
        hidden_size: Hidden size of the two networks.
    """

    def __init__(self, latent: int, width: int, hidden_size: int) -> None:
        super().__init__()
        half = latent // 2
        self.proj_in = nn.ModuleList(Linear(half, hidden_size) for _ in range(2))
        self.proj_context = nn.ModuleList(Linear(width, hidden_size, bias=True) for _ in range(2))
        self.inner = nn.ModuleList(Linear(hidden_size, hidden_size, bias=True) for _ in range(2))
        self.proj_out = nn.ModuleList(Linear(hidden_size, 2 * half, bias=True, zero=True) for _ in range(2))

    def _scale_shift(self, side: int, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        h = F.silu(self.proj_in[side](x) + self.proj_context[side](context))
        h = F.silu(self.inner[side](h))
        scale, shift = self.proj_out[side](h).chunk(2, dim=1)
        return BOUND * torch.tanh(scale / BOUND), shift

    def whiten(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards noise: (B, Z) -> (B, Z) and log |d out / d z| (B,)."""
        first, second = z.chunk(2, dim=1)
        scale_2, shift_2 = self._scale_shift(0, first, context)
        second = second * scale_2.exp() + shift_2
        scale_1, shift_1 = self._scale_shift(1, second, context)
        first = first * scale_1.exp() + shift_1
        # A perfect shuffle, so that the next coupling's halves hold some of both.
        return torch.stack([first, second], dim=2).flatten(1), scale_1.sum(1) + scale_2.sum(1)

    def colour(self, noise: Tensor, context: Tensor) -> Tensor:
        """The inverse of ``whiten``."""
        first, second = noise.unflatten(1, (-1, 2)).unbind(2)
        scale, shift = self._scale_shift(1, second, context)
        first = (first - shift) * (-scale).exp()
        scale, shift = self._scale_shift(0, first, context)
        return torch.cat([first, (second - shift) * (-scale).exp()], dim=1)


class Prior(nn.Module):
    """p(z | context).

    Args:
        latent: Z.
        width: W.
        kind: ``standard`` ignores the context; ``conditional`` is a Gaussian whose mean and deviations depend on it
            (Sohn et al., "Learning structured output representation using deep conditional generative models", 2015);
            ``flow`` carries that Gaussian further by couplings, so that it can take the posteriors' own shape
            (Chen et al., "Variational lossy autoencoder", 2017, section 3.2).
        couplings: Number of couplings of a flow.
        hidden_size: Hidden size of the couplings' networks.

    Raises:
        ConfigError: An odd latent cannot be halved by couplings.
    """

    def __init__(
        self, latent: int, width: int, *, kind: PriorKind = "conditional", couplings: int = 4, hidden_size: int = 128
    ) -> None:
        super().__init__()
        if kind == "flow" and latent % 2:
            raise ConfigError(f"latent: {latent} is odd; a prior of kind 'flow' halves it")
        self.latent, self.kind = latent, kind
        self.gaussian = None if kind == "standard" else Linear(width, 2 * latent, bias=True, zero=True)
        number = couplings if kind == "flow" else 0
        self.couplings = nn.ModuleList(Coupling(latent, width, hidden_size) for _ in range(number))

    def _moments(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the deviation of the Gaussian, (B, Z) each."""
        if self.gaussian is None:
            return torch.zeros_like(z), torch.zeros_like(z)
        mean, log_std = self.gaussian(context).chunk(2, dim=1)
        return mean, log_std.clamp(-6, 3)

    def whiten(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, Z) as the noise (B, Z) that it is made of, and log |d noise / d z| (B,)."""
        volume = z.new_zeros(len(z))
        for coupling in self.couplings:
            z, own = coupling.whiten(z, context)  # type: ignore[operator]
            volume = volume + own
        mean, log_std = self._moments(z, context)
        return (z - mean) * (-log_std).exp(), volume - log_std.sum(1)

    def colour(self, noise: Tensor, context: Tensor) -> Tensor:
        """The inverse of ``whiten``: noise (B, Z) -> z (B, Z); a sample if the noise is standard normal."""
        mean, log_std = self._moments(noise, context)
        z = mean + log_std.exp() * noise
        for coupling in reversed(self.couplings):
            z = coupling.colour(z, context)  # type: ignore[operator]
        return z

    def log_prob(self, z: Tensor, context: Tensor) -> Tensor:
        """log p(z | context) (B,), in nats."""
        noise, volume = self.whiten(z, context)
        return standard_log_prob(noise).sum(1) + volume

    def divergence(self, mean: Tensor, log_std: Tensor, z: Tensor, context: Tensor) -> Tensor:
        """KL of the Gaussian N(mean, exp(log_std)) from this prior, in nats.

        Args:
            mean: (B, Z).
            log_std: (B, Z).
            z: (B, Z), a draw from it.
            context: (B, W).

        Returns:
            (B, Z) by dimension in closed form, where the prior is Gaussian; else (B, 1), estimated from the draw.
        """
        if self.couplings:
            return (gaussian_log_prob(z, mean, log_std).sum(1) - self.log_prob(z, context))[:, None]
        own_mean, own_log_std = self._moments(mean, context)
        ratio = log_std - own_log_std
        shift = (mean - own_mean) * (-own_log_std).exp()
        return 0.5 * ((2 * ratio).exp() + shift.square() - 1) - ratio


def standard_log_prob(x: Tensor) -> Tensor:
    """Logarithm of the standard normal density, element by element."""
    return -0.5 * (x.square() + math.log(2 * math.pi))


def gaussian_log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Logarithm of a normal density, element by element."""
    return standard_log_prob((x - mean) * (-log_std).exp()) - log_std
