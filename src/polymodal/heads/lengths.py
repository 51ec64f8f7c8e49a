"""p(length | context), for heads that draw a value whole and so must know its length first."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.random import uniform


class Lengths(nn.Module):
    """A categorical distribution over lengths 1 .. ``longest``.

    Args:
        width: Of the pooled context.
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
            likely = functional.softmax(logits / temperature, dim=1).cumsum(1)
            drawn = (likely < uniform(keys)[:, None]).sum(1).clamp(max=self.longest - 1) + 1
        return torch.arange(self.longest, device=keys.device) < drawn[:, None]
