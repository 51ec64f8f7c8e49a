"""What the network of a flow puts out, and how the velocity follows from it, whatever the network is.

A point of the flow is x_t = (1 - t) noise + t data; its velocity is data - noise.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from polymodal.nn.bounds import clamp_to_bounds
from polymodal.types import Space

SHORTEST = 1e-3
"""Least remaining time by which predicted data are turned into a velocity."""


class Parameterisation(Protocol):
    """What each of the classes here is."""

    def velocity(self, out: Tensor, x: Tensor, time: Tensor) -> Tensor: ...

    def weight(self, time: Tensor) -> Tensor: ...

    def error(self, time: Tensor) -> Tensor: ...


class PredictVelocity:
    """The network puts out the velocity itself."""

    def velocity(self, out: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """The velocity (B, N, F) at ``x`` (B, N, F) and times (B,), from what the network put out."""
        return out

    def weight(self, time: Tensor) -> Tensor:
        """Weights (B,) of the squared error of the velocity at times (B,), in the loss."""
        return torch.ones_like(time)

    def error(self, time: Tensor) -> Tensor:
        """The squared error (B,) of what the network puts out beside that of the velocity."""
        return torch.ones_like(time)


@dataclass(frozen=True)
class PredictData:
    """The network puts out the data, from which the velocity follows.

    Source: Li and He, "Back to basics: let denoising generative models denoise", 2025.

    Args:
        space: Space of the data, whose bounds are kept to.
        weight_cap: Largest weight of the squared error of the data, which else is 1 / (1 - t)^2, as that of a velocity.
            Source: Hang et al., "Efficient diffusion training via min-SNR weighting strategy", 2023.
    """

    space: Space
    weight_cap: float

    def velocity(self, out: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """The velocity (B, N, F) at ``x`` (B, N, F) and times (B,), from what the network put out."""
        return (clamp_to_bounds(out, self.space) - x) / (1 - time).clamp(min=SHORTEST)[:, None, None]

    def weight(self, time: Tensor) -> Tensor:
        """Weights (B,) of the squared error of the velocity at times (B,), in the loss."""
        return (self.weight_cap * self.error(time)).clamp(max=1)

    def error(self, time: Tensor) -> Tensor:
        """The squared error (B,) of what the network puts out beside that of the velocity."""
        return (1 - time).square()


@dataclass(frozen=True)
class PredictNoise:
    """The network puts out the noise, from which the velocity follows; its loss is that of the noise.

    Source: Ho et al., "Denoising diffusion probabilistic models", 2020, equation 14.

    Args:
        shortest: Time of the most noise that the network knows, above 0; before it, x is taken to be there.
    """

    shortest: float = SHORTEST

    def velocity(self, out: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """As of ``PredictVelocity``."""
        return (x - out) / time.clamp(min=self.shortest)[:, None, None]

    def weight(self, time: Tensor) -> Tensor:
        """As of ``PredictVelocity``."""
        return self.error(time)

    def error(self, time: Tensor) -> Tensor:
        """As of ``PredictVelocity``."""
        return time.clamp(min=self.shortest).square()


class PredictAngle:
    """The network puts out how x, divided by its deviation, moves as it turns from data to noise: ``v``.

    With a = t / s and b = (1 - t) / s, where s^2 = t^2 + (1 - t)^2, it is v = a noise - b data.

    Source: Salimans and Ho, "Progressive distillation for fast sampling of diffusion models", 2022, appendix D.
    """

    def velocity(self, out: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """As of ``PredictVelocity``."""
        square = (time.square() + (1 - time).square())[:, None, None]
        return ((2 * time - 1)[:, None, None] * x / square) - out * square.rsqrt()

    def weight(self, time: Tensor) -> Tensor:
        """As of ``PredictVelocity``."""
        return self.error(time)

    def error(self, time: Tensor) -> Tensor:
        """As of ``PredictVelocity``."""
        return time.square() + (1 - time).square()
