"""Pivots: fields of ids through which other fields are generated better than from what is given alone.

A model that names what it sees nearly always rightly, and speaks names well, may yet speak poorly of what it sees, as
few of its steps taught that. Then the name is drawn first and given, too, as translation goes through a third language.

Source: Utiyama and Isahara, "A comparison of pivot methods for phrase-based statistical machine translation", 2007.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from polymodal.condition import FEATURES, LATENT
from polymodal.data import Rows
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.types import Batch

_log = logging.getLogger(__name__)
ROWS, DRAWS, FEWEST = 64, 2, 8
"""Held-out rows of a direction, how often noise is drawn for each, and of how many rows nothing can be told."""
SMALLEST = 0.01
"""A gain that is less of the loss is not worth a draw in every sample."""
MOST_PASSES = 256
"""Losses of a direction that are computed at most; wide tables have tens of thousands."""
Pivots = dict[str, dict[str, str]]
"""By output field and input field, the field that is drawn first."""


@torch.no_grad()
def choose_pivots(
    model: Model,
    rows: Rows,
    *,
    seed: int = 0,
    batch_size: int = ROWS,
    seconds: float = math.inf,
    now: Callable[[], float] = time.monotonic,
) -> Pivots:
    """The pivots by which held-out rows lose less: a hundredth, and two standard errors of the difference.

    A pivot is drawn as likeliest from one given field, which stays given; both losses have the same noise. A field that
    leaves a pivot open, as a style leaves the name open, has none: a wrong guess loses more than it tells.

    Args:
        model: In evaluation mode.
        rows: That it did not learn from.
        seed: Of the noise.
        batch_size: Rows that are computed together.
        seconds: After which no more is looked at; the largest fields come first.
        now: Clock of the seconds.

    Returns:
        Those of outputs that are numbers, whose heads have a loss that tells how well a value is explained.
    """
    until, passes, chosen, present = now() + seconds, 0, Pivots(), rows.present
    between = [name for name in model.encoders if model.may_be_pivot(name)]
    outputs = [name for name in model.heads if model.may_have_pivots(name)]
    for target in sorted(outputs, key=lambda name: -math.prod(model.modalities[name].space.shape)):
        for source in model.encoders:
            pivots = [name for name in between if name not in (source, target)]
            index = torch.from_numpy(present[source] & present[target]).nonzero()[:, 0]
            if source == target or not pivots or len(index) < FEWEST:
                continue
            index = index[torch.linspace(0, len(index) - 1, min(ROWS, len(index))).long()]
            batch, losses = _values(model, rows, index, source, target), {}
            for pivot in (None, *pivots):
                if passes == MOST_PASSES or now() > until:
                    _log.info("pivots: from %s to %s no more is looked at, for lack of time", source, target)
                    return chosen
                losses[pivot] = _loss(model, batch, source, pivot, target, seed, batch_size)
                passes += 1
            gains = {pivot: losses[None] - losses[pivot] for pivot in pivots}
            least = {pivot: float(gain.mean() - 2 * gain.std() / len(gain) ** 0.5) for pivot, gain in gains.items()}
            best = max(pivots, key=lambda pivot: -math.inf if math.isnan(least[pivot]) else least[pivot])
            if least[best] > SMALLEST * abs(float(losses[None].mean())):
                chosen.setdefault(target, {})[source] = best
                _log.info("%s from %s is drawn through %s: held-out rows lose less", target, source, best)
    return chosen


def _values(model: Model, rows: Rows, index: Tensor, source: str, target: str) -> Batch:
    """The values of both fields in some rows, and what is kept of them where parts do not learn."""
    wanted = (source, source + FEATURES, target, target + LATENT)
    some = rows.only(*(name for name in dict.fromkeys(wanted) if name in rows.columns))
    return {name: field.to(model.device) for name, field in some.decode(some.batch(index)).items()}


def _loss(
    model: Model, batch: Batch, source: str, pivot: str | None, target: str, seed: int, batch_size: int
) -> Tensor:
    """(B,) the loss of ``target`` given ``source``, and what is drawn of ``pivot`` from it if there is one."""
    rows = len(batch[source].present)
    keys, losses = make_keys(seed, rows * DRAWS, device=model.device), []
    for part in torch.arange(rows * DRAWS, device=model.device).split(batch_size):
        own = {name: field.pick(part % rows) for name, field in batch.items()}
        given = {name: field for name, field in own.items() if name in (source, source + FEATURES)}
        condition = model.condition(given, {source: torch.ones(len(part), dtype=torch.bool)}, keys[part])
        if pivot:
            condition = condition.give_likeliest(pivot)
        losses.append(condition.total_loss(target, model.target(own, target)))
    return torch.cat(losses).view(DRAWS, rows).mean(0)
