"""Solvers of ordinary differential equations dx/dt = velocity(x, t) in fixed steps.

Each takes ``velocity(x, t)``, with ``t`` a scalar tensor, the state ``x`` at ``times[0]`` and the times (n + 1,) of n
steps, rising or falling, and returns the state at ``times[-1]``.

Source: Hairer, Norsett and Wanner, "Solving ordinary differential equations I" (1993), section II.1.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


def _steps(times: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
    """(time, next time, step size) of each step; sizes are read once, so that no step waits for a device."""
    points = times.unbind()
    return zip(points[:-1], points[1:], times.double().diff().tolist(), strict=True)


def euler(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Order 1, one evaluation a step."""
    for time, _, step in _steps(times):
        x = torch.add(x, velocity(x, time), alpha=step)
    return x


def heun(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Order 2, two evaluations a step: the mean of the slopes at both ends."""
    for time, after, step in _steps(times):
        slope = velocity(x, time)
        ahead = velocity(torch.add(x, slope, alpha=step), after)
        x = torch.add(x, slope + ahead, alpha=step / 2)
    return x


def midpoint(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Order 2, two evaluations a step: the slope at the middle."""
    for time, after, step in _steps(times):
        middle = torch.add(x, velocity(x, time), alpha=step / 2)
        x = torch.add(x, velocity(middle, torch.lerp(time, after, 0.5)), alpha=step)
    return x


SOLVERS: dict[str, Callable[[Velocity, Tensor, Tensor], Tensor]] = {"euler": euler, "heun": heun, "midpoint": midpoint}


def solve(solver: Callable[[Velocity, Tensor, Tensor], Tensor], velocity: Velocity, x: Tensor, steps: int) -> Tensor:
    """The state at time 1 from that at time 0, in equal steps, the last of which is Euler's whatever the solver.

    At the end of time predicted data say nothing of the velocity, so the last step looks at its beginning only.
    Source: Karras et al., "Elucidating the design space of diffusion-based generative models", 2022, algorithm 1.
    """
    times = torch.linspace(0, 1, steps + 1)
    return euler(velocity, solver(velocity, x, times[:-1]), times[-2:])
