"""The loss of one field's head, as training has it, for whoever asks how well an output is explained."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.model import Model
from polymodal.nn.random import fold
from polymodal.types import Batch, Context


def head_loss(model: Model, context: Context, batch: Batch, to: str, keys: Tensor) -> Tensor:
    """(B,) the sum of the terms of one field's loss, as the player ``model`` has it in training."""
    with torch.no_grad():
        context.nothing = model.context({}, {}, 1)
    losses = model.heads[to].loss(context.of(to), model.target(batch, to), "model", fold(keys, stream(model, to)))
    return torch.stack(list(losses.values())).sum(0)


def stream(model: Model, to: str) -> int:
    """Stream of the keys that a field's head draws from, as in ``Model``."""
    return 1000 + list(model.heads).index(to)
