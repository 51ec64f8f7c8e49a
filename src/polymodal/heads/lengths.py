"""p(length | context), for heads that draw all of a value at once and so need its length first."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.random import choose
from polymodal.nn.shapes import longest
from polymodal.types import Context, Field, Losses, Space


class Lengths(nn.Module):
    """A categorical distribution over lengths 1 .. ``longest``.

    Args:
        width: Width of the pooled context.
        longest: Greatest length.
    """

    WEIGHT = 0.1  # the loss of a length beside that of a value

    def __init__(self, width: int, longest: int):
        super().__init__()
        self.longest = longest
        self.logits = nn.Linear(width, longest)

    def loss(self, pooled: Tensor, lengths: Tensor) -> Tensor:
        """(B,) weighted negative log-likelihood of ``lengths`` (B,) given the pooled context (B, D)."""
        return self.WEIGHT * functional.cross_entropy(self.logits(pooled), lengths - 1, reduction="none")

    def draw(self, pooled: Tensor, keys: Tensor, temperature: float = 1.0) -> Tensor:
        """Mask (B, longest) of the real positions of lengths drawn by ``keys`` (B,); the likeliest at temperature 0."""
        logits = self.logits(pooled).float()
        if temperature == 0:
            drawn = logits.argmax(1) + 1
        else:
            drawn = choose(functional.softmax(logits / temperature, dim=1), keys) + 1
        return torch.arange(self.longest, device=keys.device) < drawn[:, None]


def draw_positions(lengths: Lengths | None, space: Space, pooled: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Mask (B, L) of the real positions of sequences, L the longest length drawn; all where lengths do not vary."""
    if lengths is None:
        return torch.ones(len(keys), *space.shape, dtype=torch.bool, device=keys.device)
    real = lengths.draw(pooled, keys, temperature)
    return real[:, : longest(real)]


def length_loss(lengths: Lengths | None, context: Context, target: Field) -> Losses:
    """``length`` (B,): the weighted loss of the lengths of the target; nothing where lengths do not vary."""
    return {} if lengths is None else {"length": lengths.loss(context.pooled, target.lengths)}


def length_log_prob(lengths: Lengths | None, context: Context, target: Field) -> Tensor | float:
    """log p(length | context) (B,); 0 where lengths do not vary."""
    return 0.0 if lengths is None else -lengths.loss(context.pooled, target.lengths) / Lengths.WEIGHT
