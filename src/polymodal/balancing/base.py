"""What every balancer is: losses and gradients since the last look -> weights until the next one."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from polymodal.arguments import check_constructor

LARGEST = 1000.0
"""No weight is further than this factor from the mean one."""


@dataclass(frozen=True)
class Seen:
    """What all processes saw since the last look, as means over the steps in which a field was wanted.

    Attributes:
        step: Steps taken.
        losses: By ``field.term``, as the recipe weighs them, without the balancer's weights.
        gradients: By field: the norm of its loss's gradient at the context, summed over the rows of a step, without the
            balancer's weights. Its unit is the same for all fields and otherwise arbitrary.
        signed: Names of losses that have no lowest value at 0, as the density of a likelihood with a learned variance.
    """

    step: int
    losses: Mapping[str, float]
    gradients: Mapping[str, float] = field(default_factory=dict)
    signed: Collection[str] = ()

    def of_fields(self) -> dict[str, float]:
        """The loss of each field: the sum of its terms."""
        sums: dict[str, float] = {}
        for name, value in self.losses.items():
            owner = name.partition(".")[0]
            sums[owner] = sums.get(owner, 0.0) + value
        return sums


class Balancer(ABC):
    """Weighs the losses of the heads. Terms of the fusion and of the alignment keep their weights.

    A balancer is asked to ``update`` its weights every few steps with numbers of all processes, so that no step waits
    for another process and all of them decide the same. A constructor takes ``(fields,)`` by position, the fields that
    are generated, and its configuration as keyword-only arguments.

    Attributes:
        measures: Whether it needs gradients.
        watches: Whether it needs to be updated at all.
        over: What has a weight: each field, or each term of each field.
        state: By name, numbers by field or term: all that changes while it learns, ``weights`` among it.
    """

    measures: ClassVar[bool] = False
    watches: ClassVar[bool] = True
    over: Literal["fields", "terms"] = "fields"

    __init_subclass__ = check_constructor

    def __init__(self, fields: Sequence[str]):
        self.fields = list(fields)
        self.state: dict[str, Any] = {"weights": {}}

    @abstractmethod
    def update(self, seen: Seen) -> None:
        """Weighs anew what was seen; the weights of what was not seen stay."""

    @property
    def weights(self) -> dict[str, float]:
        """By field or by ``field.term``; 1 for what is not there."""
        return self.state["weights"]

    def weight(self, field: str, term: str) -> float:
        """Factor of a term of a field's head."""
        return self.weights.get(field if self.over == "fields" else f"{field}.{term}", 1.0)

    def losses(self, seen: Seen) -> dict[str, float]:
        """Of what has a weight."""
        return seen.of_fields() if self.over == "fields" else dict(seen.losses)

    def signed(self, seen: Seen) -> set[str]:
        """Of what has a weight, that whose loss may be below 0: it is said to, or has been 0 or less at some look."""
        known = self.memory("signed")
        said = seen.signed if self.over == "terms" else {name.partition(".")[0] for name in seen.signed}
        for name, loss in self.losses(seen).items():
            if name in said or loss <= 0:
                known[name] = 1.0
        return set(known)

    def set_weights(self, weights: dict[str, float]) -> None:
        """Takes over new weights, scaled to a mean of 1, so that balance does not change how much is learned in all."""
        names = self.weights | weights
        mean = _mean(names.values())
        self.state["weights"] = {
            name: min(max(value / mean, 1 / LARGEST), LARGEST) for name, value in sorted(names.items())
        }

    def memory(self, name: str) -> dict[str, float]:
        """Numbers that it keeps under a name of ``state``."""
        return self.state.setdefault(name, {})


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
