"""Weights by how uncertain each output is."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import NonNegativeFloat

from polymodal.balancing.base import Balancer, Seen

SMALLEST = 1e-3
"""Losses below this count as this."""


class Uncertainty(Balancer):
    """A loss L weighs exp(-s), where s, the logarithm of its variance, descends exp(-s) L + s.

    What is learned well gets a small variance and a large weight: at rest each weight is 1 / L, so that the losses'
    scales cancel out. Here s starts at its optimum and descends at every look.

    That needs a loss that 0 bounds below, such as a squared error or the likelihood of an id. At the best s such a term
    is log L + 1, which is what the density of a likelihood with a learned variance is already: its s stays 0, so that
    it weighs 1, as it does in the joint likelihood. For a loss below 0, s would fall for ever.

    Source: Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses", 2018, equation 10.

    Args:
        fields: That are generated.
        rate: Of the descent, a look.
        over: Whether each field or each term has a weight.
    """

    def __init__(
        self, fields: Sequence[str], *, rate: NonNegativeFloat = 0.2, over: Literal["fields", "terms"] = "fields"
    ):
        super().__init__(fields)
        self.rate, self.over = rate, over

    def update(self, seen: Seen) -> None:
        logs, signed = self.memory("log_variance"), self.signed(seen)
        for name, loss in self.losses(seen).items():
            if name in signed:
                logs[name] = 0.0
                continue
            loss = max(loss, SMALLEST)
            s = logs.setdefault(name, math.log(loss))
            logs[name] = s + self.rate * min(loss * math.exp(-s) - 1, 1.0)
        self.set_weights({name: math.exp(-s) for name, s in logs.items()})
