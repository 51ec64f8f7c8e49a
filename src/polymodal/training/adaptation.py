"""What training adapts to what it sees: weights of losses, odds of targets, learning rates of fields.

Losses and gradients are summed on the device as they come. Every few steps one look brings the sums of all processes
together, and each part decides anew from the same numbers. No other step waits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.balancing import Balancer, Seen
from polymodal.training.rates import Rates
from polymodal.training.target_sampling import TargetSampler
from polymodal.types import Context

EVERY = 16
"""Steps between two looks."""
TOLD = 1.25
"""A weight or odds is told of once it has changed by this factor since it was last told of."""


class Adaptation:
    """Watches the losses of the heads and asks its parts to decide; without parts it does nothing and costs nothing.

    Args:
        weights: Of the recipe, by field that is generated.
        balancer: Of the losses' weights.
        sampling: Of the targets' odds.
        rates: Of the fields' learning rates.
        owners: By name of a parameter, the field that it belongs to, for ``rates``.
        signed: By ``field.term``, losses that 0 does not bound below.
    """

    def __init__(
        self,
        weights: Mapping[str, float] = {},
        *,
        balancer: Balancer | None = None,
        sampling: TargetSampler | None = None,
        rates: Rates | None = None,
        owners: Mapping[str, str] = {},
        signed: Collection[str] = (),
    ):
        self.weights, self.signed = weights, signed
        self.balancer = balancer if balancer and balancer.watches else None
        self.sampling, self.rates, self.owners = sampling, rates, owners
        parts = {"balance": self.balancer, "odds": sampling, "rates": rates}
        self.parts: dict[str, Any] = {name: part for name, part in parts.items() if part}
        self._losses: dict[str, Any] = {}
        self._gradients: dict[str, Any] = {}
        self._steps: dict[str, Any] = {}
        self._of_step: list[tuple[dict[str, Any], str, Tensor]] = []
        self._counts: Mapping[str, int] = {}
        self._told: dict[str, float] = {}
        self._said: list[str] = []

    def weight(self, field: str, term: str) -> float:
        """Factor of a term of a field's head, beside the recipe's weight."""
        return self.balancer.weight(field, term) if self.balancer else 1.0

    def watch(self, field: str, context: Context) -> None:
        """Sees the gradient of a field's loss when it comes to the context that its head was told."""
        if not (self.balancer and self.balancer.measures):
            return
        for part in (context.tokens, context.pooled):
            if part.requires_grad:
                part.register_hook(lambda gradient: self._add_gradient(field, gradient))

    def _add_gradient(self, field: str, gradient: Tensor) -> None:
        self._of_step.append((self._gradients, field, gradient.detach().flatten(1).float().norm(dim=1).sum()))

    def observe(self, player: str, terms: Mapping[str, Tensor], counts: Mapping[str, int]) -> None:
        """Adds the terms of one micro_batch.

        Args:
            player: Whose move it was; those of adversaries are their own affair.
            terms: By ``field.term``, detached.
            counts: Rows of the whole step in which each field is wanted.
        """
        if not self.parts or player != "model":
            return
        self._counts = counts
        for name, value in terms.items():
            if name.partition(".")[0] in self.weights:
                self._of_step.append((self._losses, name, value))

    def step(self, step: int, skipped: Tensor | None = None) -> None:
        """Called after each step, with the number of those taken; every few steps it looks.

        Args:
            step: Steps taken.
            skipped: Whether this one moved nothing, as something was not finite: then it counts for nothing. It stays
                on its device.
        """
        if not self.parts:
            return
        for sums, name, value in self._of_step:
            kept = value if skipped is None else value.masked_fill(skipped, 0.0)
            sums[name] = sums.get(name, 0.0) + kept
        self._of_step = []
        counted = 1 if skipped is None else skipped.logical_not().float()
        for name in self.weights:
            self._steps[name] = self._steps.get(name, 0) + (counted if self._counts.get(name) else 0)
        if step % EVERY:
            return
        losses, gradients = (shared(_numbers(sums)) for sums in (self._losses, self._gradients))
        taken = {
            name: count for name, count in _numbers(self._steps).items() if count
        }  # others were not seen, or skipped
        seen = Seen(
            step,
            {
                name: value / taken[_field(name)] * self.weights[_field(name)]
                for name, value in losses.items()
                if _field(name) in taken
            },
            {name: value / taken[name] / self.weight(name, "") for name, value in gradients.items() if name in taken},
            self.signed,
        )
        for part in self.parts.values() if seen.losses else ():
            part.update(seen)
        self._losses, self._gradients, self._steps = {}, {}, {}
        self._tell(seen)

    def _tell(self, seen: Seen) -> None:
        losses = seen.of_fields()
        for name, now in self.numbers().items():
            before, kind = self._told.setdefault(name, 1.0), name.partition(".")[0]
            if kind != "rates" and not 1 / TOLD < now / before < TOLD:
                known = {"loss": losses, "gradient": seen.gradients}
                facts = [f"{kind} {of[_field(name, 1)]:.3g}" for kind, of in known.items() if _field(name, 1) in of]
                self._said.append(f"{name} {before:.3g} -> {now:.3g} ({', '.join(facts) or 'not seen lately'})")
                self._told[name] = now

    def validated(self, losses: Mapping[str, float]) -> None:
        """Hears the losses of held-out rows, which the first process alone knows."""
        if self.rates:
            self.rates.validated(shared(losses))

    def rate(self, group: Mapping[str, Any]) -> float:
        """Factor of the learning rate of a group of parameters, which may have an ``owner``."""
        return self.rates.factors.get(group.get("owner", ""), 1.0) if self.rates else 1.0

    def numbers(self) -> dict[str, float]:
        """What is now in force, for the log: ``balance.speech``, ``odds.speech``, ``rates.speech``."""
        weights = self.balancer.weights if self.balancer else {}
        odds = self.sampling.state["odds"] if self.sampling else {}
        factors = self.rates.factors if self.rates else {}
        groups = {"balance": weights, "odds": odds, "rates": factors}
        return {f"{kind}.{name}": value for kind, group in groups.items() for name, value in group.items()}

    def decisions(self) -> list[str]:
        """What was decided since this was last asked, one line each."""
        said, self._said = self._said, []
        return said + (self.rates.decisions() if self.rates else [])

    @property
    def state(self) -> dict[str, Any]:
        """All that resuming needs, as JSON; the sums are those of all processes, which ask for it together."""
        if not self.parts:
            return {}
        sums = {"losses": shared(_numbers(self._losses)), "gradients": shared(_numbers(self._gradients))}
        own = {**sums, "steps": _numbers(self._steps), "told": self._told}
        return own | {name: part.state for name, part in self.parts.items()}

    def restore(self, state: Mapping[str, Any], *, first: bool = True) -> None:
        """Goes on from ``state``; of many processes, the ``first`` one has the sums of all."""
        if state and self.parts:
            if first:
                self._losses, self._gradients = dict(state["losses"]), dict(state["gradients"])
            self._steps, self._told = dict(state["steps"]), dict(state["told"])
            for name, part in self.parts.items():
                part.state = state[name]


def _field(name: str, place: int = 0) -> str:
    """The field in ``field.term``, or in ``kind.field.term``."""
    return name.split(".")[place]


def _numbers(sums: Mapping[str, Any]) -> dict[str, float]:
    """Scalars on the device, read all at once."""
    tensors = {name: value.float() for name, value in sums.items() if isinstance(value, Tensor)}
    read = torch.stack(list(tensors.values())).tolist() if tensors else []
    return {**sums, **dict(zip(tensors, read, strict=True))}


def shared(numbers: Mapping[str, float]) -> dict[str, float]:
    """The sums of all processes' numbers; a process may lack some. Sorted by name, alike everywhere."""
    everyone: list[Any] = [dict(numbers)]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        everyone = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(everyone, dict(numbers))
    return {name: sum(each.get(name, 0.0) for each in everyone) for name in sorted(set().union(*everyone))}
