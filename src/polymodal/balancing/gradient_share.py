"""Weights that give each field the share of the gradient that the recipe asks for."""

from collections.abc import Mapping, Sequence

from pydantic import PositiveFloat

from polymodal.arguments import Probability
from polymodal.balancing.base import Balancer, Seen
from polymodal.errors import ConfigError, unknown


class GradientShare(Balancer):
    """Each field moves the shared context as much as its share says, whatever the scale of its loss.

    Args:
        fields: That are generated.
        shares: By field, above 0; 1 where not said. Only their ratios count.
        rate: Part of the way, in the logarithm, that a weight goes at a look.

    Raises:
        ConfigError: A field of ``shares`` is not generated.
    """

    measures = True

    def __init__(self, fields: Sequence[str], *, shares: Mapping[str, PositiveFloat] = {}, rate: Probability = 0.3):
        super().__init__(fields)
        for name in shares:
            if name not in fields:
                raise ConfigError(unknown("shares: field", name, fields))
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
