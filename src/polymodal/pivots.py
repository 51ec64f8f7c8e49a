"""Pivots: fields of ids through which other fields are generated better than from what is given alone.

A model that names what it sees nearly always rightly, and speaks names well, may yet speak poorly of what it sees, as
few of its steps taught that. Then the name is drawn first and given, too, as translation goes through a third language.

Source: Utiyama and Isahara, "A comparison of pivot methods for phrase-based statistical machine translation", 2007.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.model import FEATURES, Model
from polymodal.nn.random import make_keys
from polymodal.types import Batch

ROWS, DRAWS, FEWEST = 64, 2, 8
"""Held-out rows of a direction, how often noise is drawn for each, and of how many rows nothing can be told."""
Pivots = dict[str, dict[str, str]]
"""By output field and input field, the field that is drawn first."""


@torch.no_grad()
def choose_pivots(model: Model, rows: Rows, *, seed: int = 0, seconds: float = math.inf) -> Pivots:
    """The pivots by which held-out rows lose less: by two standard errors of the mean difference, with the same noise.

    A pivot is drawn as likeliest from one given field; what that field says still counts, as it stays given. A field
    that leaves a pivot open, as a style leaves the name open, has none: a wrong guess loses more than it tells.

    Args:
        model: In evaluation mode.
        rows: That it did not learn from.
        seed: Of the noise.
        seconds: After which no direction is begun.

    Returns:
        Those of outputs that are numbers, whose heads have a loss that tells how well a value is explained.
    """
    until, chosen = time.monotonic() + seconds, Pivots()
    between = [name for name in model.encoders if model.may_be_pivot(name)]
    for target in (name for name in model.heads if model.may_have_pivots(name)):
        for source in model.encoders:
            pivots = [name for name in between if name not in (source, target)]
            index = torch.from_numpy(rows.present[source] & rows.present[target]).nonzero()[:, 0]
            if source == target or not pivots or len(index) < FEWEST or time.monotonic() > until:
                continue
            index = index[torch.linspace(0, len(index) - 1, min(ROWS, len(index))).long()].repeat(DRAWS)
            batch = {name: field.to(model.device) for name, field in rows.decode(rows.batch(index)).items()}
            keys = make_keys(seed, len(index), device=model.device)
            direct = _losses(model, batch, source, None, target, keys)
            gains = {pivot: direct - _losses(model, batch, source, pivot, target, keys) for pivot in pivots}
            least = {pivot: float(gain.mean() - 2 * gain.std() / len(gain) ** 0.5) for pivot, gain in gains.items()}
            if least[best := max(pivots, key=lambda pivot: least[pivot])] > 0:
                chosen.setdefault(target, {})[source] = best
    return chosen


def _losses(model: Model, batch: Batch, source: str, pivot: str | None, target: str, keys: Tensor) -> Tensor:
    """(B,) of real values of ``target`` given ``source`` alone, or what is drawn of ``pivot`` from it too."""
    given = {name: batch[name] for name in (source, source + FEATURES) if name in batch}
    condition = model.condition(given, {source: torch.ones(len(keys), dtype=torch.bool)}, keys)
    if pivot:
        condition = condition.give_likeliest(pivot)
    return condition.total_loss(target, model.target(batch, target)).view(DRAWS, -1).mean(0)
