"""Exponential moving average of the weights."""

import torch
from torch import Tensor, nn


class Average:
    """Averaged copies of the parameters that train.

    Early on the average follows closely, so that the first weights are forgotten: the decay is
    min(decay, (1 + step) / (10 + step)). After ``EVERY_STEP`` steps of a slow average, whose decay is ``SLOW`` or more,
    only every ``STRIDE``-th is averaged in, with the decay of as many: it is the same but for noise, up to three steps
    of many behind, and the steps of wide models take less time.

    Args:
        parameters: By name.
        decay: Share of the average that a step keeps.
    """

    EVERY_STEP, STRIDE, SLOW = 32, 4, 0.95

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float):
        self.parameters, self.decay = parameters, decay
        self.weights: dict[str, Tensor] = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Called after step number ``step`` (from 0)."""
        stride = self.STRIDE if step >= self.EVERY_STEP and self.decay >= self.SLOW else 1
        if (step + 1) % stride:
            return
        decay = min(self.decay, (1 + step) / (10 + step)) ** stride
        torch._foreach_lerp_(list(self.weights.values()), list(self.parameters.values()), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the averages and the parameters; a second call undoes it."""
        for name, parameter in self.parameters.items():
            kept = self.weights[name].clone()
            self.weights[name].copy_(parameter)
            parameter.copy_(kept)
