"""Shortcuts of a flow: the network learns the mean velocity over a whole step, as two steps of half the length give it.

Source: Frans et al., "One step diffusion via shortcut models", 2024, section 3.
"""

from collections.abc import Callable

from torch import Tensor

from polymodal.nn.random import fold, uniform

SHORTCUTS = (1, 2, 4, 8, 16)
"""Numbers of steps that shortcuts are learned for, each a halving of the one before. A level is a place in it; one past
the last is no step at all, so the velocity itself."""


def draw_steps(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Levels (B,) and times (B,) at which such a step may begin, for keys (B,)."""
    level = (uniform(fold(keys, 3)) * len(SHORTCUTS)).long()
    steps = 2**level
    return level, (uniform(fold(keys, 4)) * steps).floor() / steps


def two_halves(velocity: Callable[[Tensor, Tensor], Tensor], x: Tensor, time: Tensor, level: Tensor) -> Tensor:
    """Mean velocity (B, ...) over a step of 1 / SHORTCUTS[level] by two of half that length.

    Args:
        velocity: Velocity of x (B, ...) at times (B,), over half a step.
        x: (B, ...).
        time: (B,) at which the step begins.
        level: (B,).
    """
    half = 0.5 / 2**level
    first = velocity(x, time)
    second = velocity(x + half.view(-1, *[1] * (x.dim() - 1)) * first, time + half)
    return (first + second) / 2
