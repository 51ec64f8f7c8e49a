"""How fields are best drawn, as held-out rows tell at the end of a training: through which fields, and beside which.

A model that names what it sees nearly always rightly, and speaks names well, may yet speak poorly of what it sees, as
few of its steps taught that. Then the name is drawn first and given, too, as translation goes through a third language:
it is a pivot. Source: Utiyama and Isahara, "A comparison of pivot methods for phrase-based statistical machine
translation", 2007.

Beside its name, a picture may tell nothing of how the name is spoken: the name screens it off. A generated picture is
then not shown, for it may mislead. Source: Reichenbach, "The direction of time", 1956, section 19.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from polymodal.condition import FEATURES, LATENT
from polymodal.data import Rows
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.types import Batch

_log = logging.getLogger(__name__)
ROWS, FEWEST = 64, 8
"""Held-out rows that are compared, and of how few nothing can be told."""
SMALLEST = 0.01
"""A difference that is less of the loss is none."""
MOST_PASSES = 256
"""Losses of those rows that are computed at most; wide tables have tens of thousands."""
Pivots = dict[str, dict[str, str]]
"""By output and input, the field of ids that is drawn first."""
Screens = dict[str, dict[str, list[str]]]
"""By output and input, the fields of ids beside which the input tells nothing."""


class _SpentError(Exception):
    """No more losses are to be computed."""


@dataclass
class HeldOutLosses:
    """Losses of rows that a model did not learn from, given these fields or those, always with the same noise.

    Args:
        model: In evaluation mode.
        rows: That it did not learn from.
        seed: Of the noise.
        batch_size: Rows that are computed together.
        seconds: After which no more are computed.
        now: Clock of the seconds.
    """

    model: Model
    rows: Rows
    seed: int = 0
    batch_size: int = ROWS
    seconds: float = math.inf
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._until, self._passes, self._present = self.now() + self.seconds, 0, self.rows.present

    @property
    def outputs(self) -> list[str]:
        """Fields of which losses tell how well they are drawn, the largest first."""
        spaces = {name: modality.space for name, modality in self.model.modalities.items()}
        return sorted(filter(self.model.may_have_pivots, self.model.heads), key=lambda n: -math.prod(spaces[n].shape))

    @contextmanager
    def while_they_last(self) -> Iterator[None]:
        """Ends what asks for more losses than are computed."""
        try:
            yield
        except _SpentError:
            _log.info("pivots and screens: not all are looked at, for lack of time")

    def rows_of(self, *names: str) -> Tensor | None:
        """Up to ``ROWS`` rows that have all of these fields, from everywhere; None if they are too few."""
        present = torch.from_numpy(self._present[names[0]]).clone()
        for name in names[1:]:
            present &= torch.from_numpy(self._present[name])
        index = present.nonzero()[:, 0]
        if len(index) < FEWEST:
            return None
        return index[torch.linspace(0, len(index) - 1, min(ROWS, len(index))).long()]

    @torch.no_grad()
    def of(self, target: str, index: Tensor, given: Collection[str], pivot: str | None = None) -> Tensor:
        """(B,) the loss of ``target`` in the rows at ``index``, given fields, and the likeliest value of a pivot."""
        if self._passes == MOST_PASSES or self.now() > self._until:
            raise _SpentError
        self._passes += 1
        batch, losses = self._values(target, index, given), []
        keys = make_keys(self.seed, len(index), device=self.model.device)
        read = {kept for name in given for kept in (name, name + FEATURES)}
        for part in torch.arange(len(index), device=self.model.device).split(self.batch_size):
            own = {name: field.pick(part) for name, field in batch.items()}
            seen = dict.fromkeys(given, torch.ones(len(part), dtype=torch.bool))
            shown = {name: field for name, field in own.items() if name in read}
            condition = self.model.condition(shown, seen, keys[part])
            if pivot:
                condition = condition.give_likeliest(pivot)
            losses.append(condition.total_loss(target, self.model.target(own, target)))
        return torch.cat(losses)

    def _values(self, target: str, index: Tensor, given: Collection[str]) -> Batch:
        """The values of these fields, and what is kept of them where parts do not learn."""
        wanted = [kept for name in given for kept in (name, name + FEATURES)] + [target, target + LATENT]
        some = self.rows.only(*(name for name in wanted if name in self.rows.columns))
        return {name: field.to(self.model.device) for name, field in some.decode(some.batch(index)).items()}


def gain(without: Tensor, with_it: Tensor) -> float:
    """Above 0 if rows lose less (B,) with something: by more than a standard error, and than what is none.

    To be wrong of a gain that is near to none costs little, so that one standard error is enough.
    """
    less = without - with_it
    surely, none = less.std() / len(less) ** 0.5, SMALLEST * without.mean().abs()
    sure = float(less.mean() - torch.maximum(surely, none))
    return -math.inf if math.isnan(sure) else sure


def choose_pivots(losses: HeldOutLosses) -> Pivots:
    """The pivots with which rows lose less.

    A pivot is drawn as likeliest from one given field, which stays given. A field that leaves a pivot open, as a style
    leaves the name open, has none: a wrong guess loses more than it tells.
    """
    chosen, model = Pivots(), losses.model
    with losses.while_they_last():
        for target, source in product(losses.outputs, model.encoders):
            between = [name for name in model.encoders if model.may_be_pivot(name) and name not in (source, target)]
            index = losses.rows_of(source, target)
            if source == target or not between or index is None:
                continue
            direct = losses.of(target, index, (source,))
            gains = {pivot: gain(direct, losses.of(target, index, (source,), pivot)) for pivot in between}
            best = max(between, key=lambda pivot: gains[pivot])
            if gains[best] > 0:
                chosen.setdefault(target, {})[source] = best
                _log.info("%s from %s is drawn through %s: held-out rows lose less", target, source, best)
    return chosen


def choose_screens(losses: HeldOutLosses, pivots: Pivots) -> Screens:
    """The fields of ids which tell of an output, and beside which rows do not lose less with another output that
    is drawn before, or through its pivot.
    """
    chosen, model = Screens(), losses.model
    with losses.while_they_last():
        for target, source in product(losses.outputs, losses.outputs):
            first, _ = model.in_order((source, target))
            for beside in model.encoders if source in model.encoders and first == source != target else ():
                index = losses.rows_of(beside, source, target)
                if model.modalities[beside].space.kind != "discrete" or index is None:
                    continue
                pivot = pivots.get(target, {}).get(source)
                alone = losses.of(target, index, (beside,))
                if gain(losses.of(target, index, ()), alone) <= 0:
                    continue
                both = losses.of(target, index, (beside, source), None if pivot == beside else pivot)
                if gain(alone, both) <= 0:
                    chosen.setdefault(target, {}).setdefault(source, []).append(beside)
                    _log.info("%s is drawn apart from a generated %s where there is %s", target, source, beside)
    return chosen
