"""What every fusion is: tokens of the visible fields -> one context."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import nn

from polymodal.types import Context, Tokens


class Fusion(nn.Module, ABC):
    """Joins the tokens of many fields into one context.

    A constructor takes ``(fields, width)`` by position, the fields' names in order and the model's width, and its
    configuration as keyword-only arguments.
    """

    @abstractmethod
    def forward(self, tokens: Mapping[str, Tokens], rows: int, device: torch.device) -> Context:
        """Tokens of the visible fields -> context.

        Args:
            tokens: By field. A row in which the field is not visible has an all-False mask. A field that no row
                sees may be left out: the result is the same.
            rows: B, known even if no field is visible at all.
            device: Where the context is made.
        """
