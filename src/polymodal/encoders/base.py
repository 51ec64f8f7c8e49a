"""What every encoder is: field -> tokens."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from polymodal.arguments import check_constructor
from polymodal.types import Field, Space, Tokens


class Encoder(nn.Module, ABC):
    """Turns one field's values into tokens of the model's width.

    A constructor takes ``(space, width)`` by position and its configuration as keyword-only arguments.
    """

    __init_subclass__ = check_constructor

    @classmethod
    @abstractmethod
    def accepts(cls, space: Space) -> str | None:
        """None if it can read this space, else the reason why not."""

    @abstractmethod
    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        """Values (B, *shape) -> tokens (B, N, D) with a mask (B, N).

        Args:
            field: The values; every row is present.
            keys: (B,) random keys in training, where the encoder may augment what it reads; None otherwise.
        """
