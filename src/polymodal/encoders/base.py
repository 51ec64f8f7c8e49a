"""What every encoder is: field -> tokens."""

from abc import ABC, abstractmethod

from torch import nn

from polymodal.types import Field, Space, Tokens


class Encoder(nn.Module, ABC):
    """Turns one field's values into tokens of the model's width.

    A constructor takes ``(space, width)`` by position and its configuration as keyword-only arguments.
    """

    @classmethod
    @abstractmethod
    def accepts(cls, space: Space) -> str | None:
        """None if it can read this space, else the reason why not."""

    @abstractmethod
    def forward(self, field: Field) -> Tokens:
        """(B, *shape) -> tokens (B, N, D) with a mask (B, N). All rows are present."""
