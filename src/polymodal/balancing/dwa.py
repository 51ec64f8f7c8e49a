"""Weights by how fast each loss falls."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from polymodal.balancing.base import Balancer, Seen


class DynamicWeightAverage(Balancer):
    """Losses that fall slowly weigh more: softmax of L(t - 1) / L(t - 2) over the losses, whatever their scales.

    It sees no scale, and so does not mend one.

    Source: Liu, Johns and Davison, "End-to-end multi-task learning with attention", 2019, equation 7; an epoch there
    is a period here.

    Args:
        fields: That are generated.
        temperature: Above 0; the larger, the more even the weights.
        period: Looks over which a loss is averaged.
        over: Whether each field or each term has a weight.
    """

    def __init__(
        self,
        fields: Sequence[str],
        *,
        temperature: PositiveFloat = 2.0,
        period: PositiveInt = 4,
        over: Literal["fields", "terms"] = "fields",
    ):
        super().__init__(fields)
        self.temperature, self.period, self.over = temperature, period, over

    def update(self, seen: Seen) -> None:
        sums, counts, before = self.memory("sums"), self.memory("counts"), self.memory("before")
        for name, loss in self.losses(seen).items():
            sums[name], counts[name] = sums.get(name, 0.0) + loss, counts.get(name, 0) + 1
        self.state["looks"] = self.state.get("looks", 0) + 1
        if self.state["looks"] % self.period:
            return
        now = {name: total / counts[name] for name, total in sums.items()}
        ratios = {name: loss / before[name] for name, loss in now.items() if before.get(name)}
        if ratios:
            self.set_weights({name: math.exp(min(ratio, 10.0) / self.temperature) for name, ratio in ratios.items()})
        before.update(now)
        self.state |= {"sums": {}, "counts": {}}
