"""Weights by how fast each loss falls."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from polymodal.balancing.base import Balancer, Seen


class DynamicWeightAverage(Balancer):
    """Losses that fall slowly weigh more: softmax of L(t - 1) / L(t - 2) over the losses, whatever their scales.

    It sees no scale, and so does not mend one. A ratio of losses that may be negative says nothing: -3 after -2 is
    progress. So a rate is 1 + (L(t - 1) - L(t - 2)) / |L(t - 2)|, which is the same ratio where losses are above 0. One
    that may be below 0 is measured by at least ``NEAR`` of the largest loss so far, for it is no measure where it is
    near 0, and its rate is no less than that of a loss that falls to 0.

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

    NEAR = 0.5

    def update(self, seen: Seen) -> None:
        signed, largest = self.signed(seen), self.memory("largest")
        sums, counts, before = self.memory("sums"), self.memory("counts"), self.memory("before")
        for name, loss in self.losses(seen).items():
            sums[name], counts[name] = sums.get(name, 0.0) + loss, counts.get(name, 0) + 1
            largest[name] = max(largest.get(name, 0.0), abs(loss))
        self.state["looks"] = self.state.get("looks", 0) + 1
        if self.state["looks"] % self.period:
            return
        now = {name: total / counts[name] for name, total in sums.items()}
        ratios = {}
        for name, loss in now.items():
            least = self.NEAR * largest[name] if name in signed else 0.0
            if name in before and (measure := max(abs(before[name]), least)):
                ratios[name] = 1 + (loss - before[name]) / measure
        if ratios:
            bounded = {name: max(min(ratio, 10.0), 0.0) for name, ratio in ratios.items()}
            self.set_weights({name: math.exp(ratio / self.temperature) for name, ratio in bounded.items()})
        before.update(now)
        self.state |= {"sums": {}, "counts": {}}
