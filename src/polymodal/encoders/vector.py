"""Vectors -> one token each."""

from pydantic import PositiveInt
from torch import Tensor, nn

from polymodal.encoders.base import Encoder
from polymodal.types import Field, Space, Tokens


class VectorEncoder(Encoder):
    """A two-layer perceptron.

    Args:
        space: Continuous (size,).
        width: Width of the token.
        hidden_size: Units of the hidden layer; twice the width if not given.
    """

    def __init__(self, space: Space, width: int, *, hidden_size: PositiveInt | None = None):
        super().__init__()
        hidden_size = hidden_size or 2 * width
        self.perceptron = nn.Sequential(
            nn.Linear(space.channels, hidden_size), nn.SiLU(), nn.Linear(hidden_size, width)
        )

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None if space.kind == "continuous" and not space.grid else "reads vectors (size,)"

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        return Tokens(self.perceptron(field.value)[:, None], field.mask)
