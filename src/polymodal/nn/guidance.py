"""Classifier-free guidance of any velocity.

Source: Ho and Salimans, "Classifier-free diffusion guidance", 2022; the interval: Kynkäänniemi et al., "Applying
guidance in a limited interval improves sample and distribution quality in diffusion models", 2024.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from polymodal.nn.ode import Velocity
from polymodal.types import Context

ConditionalVelocity = Callable[[Tensor, Tensor, Context], Tensor]
"""``velocity(x, time, context)`` of x (B, ...) at times (B,), given a context of B rows."""


def guide(
    velocity: ConditionalVelocity,
    context: Context,
    unconditional: Context | None,
    scale: float,
    interval: tuple[float, float],
) -> Velocity:
    """A velocity that leads away from the unconditional one, for a solver: ``unconditional + scale * (given - that)``.

    Args:
        velocity: Called once for both, with the B unconditional rows after the B given ones.
        context: B rows.
        unconditional: The same rows with nothing visible; None for no guidance.
        scale: 1 for no guidance.
        interval: First and last time at which there is guidance.
    """
    both = context.beside(unconditional) if unconditional is not None and scale != 1 else None
    begin, end = interval

    def guided(x: Tensor, t: Tensor) -> Tensor:
        time = torch.full((len(x),), float(t), device=x.device)  # t is on the CPU: reading it waits for nothing
        if both is None or not begin <= t <= end:
            return velocity(x, time, context)
        given, free = velocity(torch.cat([x, x]), time.repeat(2), both).chunk(2)
        return torch.lerp(free, given, scale)

    return guided
