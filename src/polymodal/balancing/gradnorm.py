"""Weights that make the fields' gradients alike, more so where a field lags."""

from collections.abc import Sequence

from pydantic import NonNegativeFloat

from polymodal.arguments import Probability
from polymodal.balancing.base import Balancer, Seen


class GradNorm(Balancer):
    """The norm of each weighted gradient is drawn to the mean norm x (relative inverse training rate) ** alpha.

    The training rate of a field is its loss beside its first loss, or 1 where its loss may be below 0. The gradients
    are those at the context that all heads share, and the weights move in the logarithm, so that no scale of a loss
    matters; the fixed point is that of the source.

    Source: Chen et al., "GradNorm: gradient normalization for adaptive loss balancing in deep multitask networks",
    2018, equations 1 and 2; gradients at the shared representation: Sener and Koltun, "Multi-task learning as
    multi-objective optimization", 2018.

    Args:
        fields: That are generated.
        alpha: How strongly a field that lags is favoured; 0 makes all norms alike.
        rate: Share of the way, in the logarithm, that a weight goes at a look.
    """

    measures = True

    def __init__(self, fields: Sequence[str], *, alpha: NonNegativeFloat = 0.5, rate: Probability = 0.3):
        super().__init__(fields)
        self.alpha, self.rate = alpha, rate

    def update(self, seen: Seen) -> None:
        losses, first = seen.of_fields(), self.memory("first")
        norms = {name: value for name, value in seen.gradients.items() if value > 0 and name in losses}
        if not norms:
            return
        for name in norms:
            first.setdefault(name, losses[name])
        # A loss that may be below 0, as a density's is, says nothing of how much is left to learn.
        signed = self.signed(seen)
        rates = {name: 1.0 if name in signed else losses[name] / first[name] for name in norms}
        mean_rate = sum(rates.values()) / len(rates)
        mean = sum(self.weights.get(name, 1.0) * norm for name, norm in norms.items()) / len(norms)
        self.set_weights(
            {
                name: self.weights.get(name, 1.0) ** (1 - self.rate)
                * (mean * (rates[name] / mean_rate) ** self.alpha / norm) ** self.rate
                for name, norm in norms.items()
            }
        )
