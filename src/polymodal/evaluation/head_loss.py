"""The loss of one field's head, as training has it, for whoever asks how well an output is explained."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.condition import Condition
from polymodal.types import Batch


def head_loss(condition: Condition, batch: Batch, to: str) -> Tensor:
    """(B,) the sum of the terms of the loss of field ``to``, whose real values are in ``batch``, as in training."""
    losses = condition.loss(to, condition.model.target(batch, to))
    return torch.stack(list(losses.values())).sum(0)
