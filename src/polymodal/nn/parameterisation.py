"""What the network of a flow puts out, and how the velocity follows from it, whatever the network is.

A point of the flow is x_t = (1 - t) noise + t data; its velocity is data - noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from polymodal.nn.bounds import clamp_to_bounds
from polymodal.types import Space

SHORTEST = 1e-3
"""Least remaining time by which predicted data are turned into a velocity."""


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
