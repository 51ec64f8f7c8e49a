"""The best guess of what a cell holds, where a sample would be one of many values that it may hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.condition import Condition
from polymodal.generation import CHUNK
from polymodal.heads.base import LIKELIEST, UNGUIDED
from polymodal.model import Model
from polymodal.nn.random import fold
from polymodal.types import Batch, Field

DRAWS = 16
"""Draws that a best guess is made of, where it is made of draws."""

_STREAM = 4000
"""Of the keys of all draws but the first."""
_COARSE = {"solver": "euler", "steps": 4}
"""A flow's first Euler step leads to the mean of all draws, so that few steps tell it as well as many."""


def guess_rows(
    model: Model,
    batch: Batch,
    visible: Mapping[str, Tensor],
    to: Mapping[str, Tensor],
    keys: Tensor,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    draws: int = DRAWS,
) -> Batch:
    """As ``generate_rows``, but what is likeliest of ids, and of vectors the mean of several draws.

    Ids, such as those of labels and texts, are decoded at temperature 0 unless ``options`` name one; then, or where
    the context is a draw itself, the value that most draws agree on is taken. The mean is that of what a user sees,
    of prices and not of their logarithms; a head that knows its distribution tells it without draws. Neither is guided
    unless ``options`` say so. The mean of pictures or sounds would be neither, so of these there is one draw.
    Fields are guessed in the order of ``Model.in_order``, from what ``Condition.to_draw`` says.

    Args:
        model: Any.
        batch: Given values in model form, on the CPU.
        visible: By field, (B,) on the CPU: the rows in which it is given.
        to: By field, (B,) on the CPU: the rows in which it is wanted.
        keys: (B,) random keys.
        options: Options of the heads by field.
        draws: That a guess is made of; 1 takes one draw of each vector.
    """
    pieces: list[Batch] = []
    for part in torch.arange(len(keys)).split(CHUNK):
        given = {name: mask[part] for name, mask in visible.items()}
        picked = {name: field.pick(part).to(model.device) for name, field in batch.items()}
        condition = model.condition(picked, given, keys[part].to(model.device))
        made: Batch = {}
        for name in model.in_order(to):
            wanted = to[name][part]
            index = wanted.nonzero()[:, 0].to(model.device)
            if not index.numel():
                made[name] = Field.absent(model.modalities[name].space, len(part))
                continue
            own, chosen = condition.to_draw(name, wanted, given), dict((options or {}).get(name, {}))
            best = _best(own, name, index, chosen, draws).scatter(index, len(part))
            condition = condition.give(name, best)
            made[name] = best.to("cpu")
        pieces.append(made)
    return {name: Field.stack([piece[name] for piece in pieces]) for name in to}


def _best(condition: Condition, name: str, index: Tensor, options: dict[str, Any], draws: int) -> Field:
    """The best guess of a field in the rows at ``index`` (n,)."""
    model, head = condition.model, condition.model.heads[name]
    space = model.modalities[name].space
    if space.kind == "discrete":
        likeliest = head.preferring(options, LIKELIEST)
        if likeliest != options and not model.fusion.joint:
            draws = 1
        options = head.preferring(likeliest, UNGUIDED)
    elif space.grid:
        draws = 1
    else:
        options = head.preferring(options, UNGUIDED | _COARSE)
        if draws > 1 and not options and name not in model.codecs and not model.fusion.joint:
            context, _ = condition.of(name, index)
            if (support := head.support(context)) is not None:
                return Field.full(model.modalities[name].mean_of(*support))
    if draws == 1:
        return condition.sample(name, index, **options)
    rows = len(condition)
    keys = [condition.keys, *(fold(condition.keys, _STREAM + i) for i in range(1, draws))]
    visible = {field: mask.repeat(draws) for field, mask in condition.visible.items()}
    many = model.condition(condition.batch, visible, torch.cat(keys), tasks_per_row=draws)
    drawn = many.sample(name, torch.cat([index + i * rows for i in range(draws)]), **options)
    if space.kind == "continuous":
        values = drawn.value.view(draws, len(index), *drawn.value.shape[1:])
        return Field.full(model.modalities[name].mean_of(values))
    ids = [tuple(value.flatten().tolist()) for value in drawn.values()]
    chosen = []
    for row in range(len(index)):
        (most, _), *_ = Counter(ids[row :: len(index)]).most_common(1)
        chosen.append(row + len(index) * ids[row :: len(index)].index(most))
    return drawn.pick(torch.tensor(chosen, device=index.device))
