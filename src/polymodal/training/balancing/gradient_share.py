"""Weights that give each field the share of the gradient that the recipe asks for."""

from collections.abc import Mapping, Sequence

from polymodal.errors import ConfigError, unknown
from polymodal.training.balancing.base import Balancer, Seen


class GradientShare(Balancer):
    """Each field moves the shared context as much as its share says, whatever the scale of its loss.

    Args:
        fields: That are generated.
        shares: By field, above 0; 1 where not said. Only their ratios count.
        rate: Part of the way, in the logarithm, that a weight goes at a look.

    Raises:
        ConfigError: A field of ``shares`` is not generated, or its share is not above 0.
    """

    measures = True

    def __init__(self, fields: Sequence[str], *, shares: Mapping[str, float] = {}, rate: float = 0.3):
        super().__init__(fields)
        for name, share in shares.items():
            if name not in fields:
                raise ConfigError(unknown("shares: field", name, fields))
            if share <= 0:
                raise ConfigError(f"shares.{name}: {share} is not above 0")
        self.shares, self.rate = dict(shares), rate

    def update(self, seen: Seen) -> None:
        norms = {name: norm for name, norm in seen.gradients.items() if norm > 0}
        if not norms:
            return
        asked = {name: self.shares.get(name, 1.0) for name in norms}
        total = sum(self.weights.get(name, 1.0) * norm for name, norm in norms.items()) / sum(asked.values())
        self.set_weights(
            {
                name: self.weights.get(name, 1.0) ** (1 - self.rate) * (total * asked[name] / norm) ** self.rate
                for name, norm in norms.items()
            }
        )
