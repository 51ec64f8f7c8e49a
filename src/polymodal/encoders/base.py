"""What every encoder is: field -> tokens."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from polymodal.arguments import check_constructor
from polymodal.modalities import Modality
from polymodal.types import Field, Space, Tokens


class Encoder(nn.Module, ABC):
    """Turns one field's values into tokens of the model's width.

    A constructor takes ``(space, width)`` by position and its configuration as keyword-only arguments.

    Attributes:
        trains: Whether it learns with the model. One that does not is read once for each distinct training value, and
            its tokens, which may have a width of their own, pass a learned layer of the model's.
        width: Width of the tokens of an encoder that does not learn.
        reference: Of an encoder that does not learn: where its weights come from, such as a ``place`` and a
            ``revision``. A checkpoint holds this and a digest of the weights in place of them.
        sizes: The arguments that follow from the space where a recipe leaves them out, as they were chosen.
    """

    __init_subclass__ = check_constructor
    trains: bool = True
    width: int
    reference: Mapping[str, str] = {}
    sizes: Mapping[str, Any] = {}

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

    @property
    def digest(self) -> str:
        """Names weights that it computes with and that are none of its parameters; empty if there are none."""
        return ""

    @property
    def no_graph(self) -> str:
        """Why it becomes no graph of ONNX, as a sentence goes on; empty where nothing is known against it."""
        return ""

    def bind(self, modality: Modality) -> None:
        """Says whose values it reads, which a pretrained encoder brings to a form of its own; the model calls it once.

        Raises:
            ConfigError: It cannot read this modality.
        """

    def release(self) -> None:
        """Gives back memory that is not needed while the rest of the model trains."""
