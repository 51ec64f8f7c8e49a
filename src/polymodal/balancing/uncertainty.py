"""Weights by how uncertain each output is."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import NonNegativeFloat

from polymodal.balancing.base import Balancer, Seen

SMALLEST = 1e-3
"""Losses below this, negative ones too, count as this."""


class Uncertainty(Balancer):
    """A loss L weighs exp(-s), where s, the logarithm of its variance, descends exp(-s) L + s.

    What is learned well gets a small variance and a large weight: at rest each weight is 1 / L, so that the losses'
    scales cancel out. Here s starts at its optimum and descends at every look.

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
        logs = self.memory("log_variance")
        for name, loss in self.losses(seen).items():
            loss = max(loss, SMALLEST)
            s = logs.setdefault(name, math.log(loss))
            logs[name] = s + self.rate * min(loss * math.exp(-s) - 1, 1.0)
        self.set_weights({name: math.exp(-s) for name, s in logs.items()})
