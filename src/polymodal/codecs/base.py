"""What every codec is: a learned map from one space to a smaller one, and back."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from polymodal.arguments import check_constructor
from polymodal.modalities import Modality
from polymodal.types import Field, Losses, Space


class Codec(nn.Module, ABC):
    """Compresses a field. Trained first, by the same loop as a model, then frozen; or it does not learn at all.

    A constructor takes ``(space,)`` by position and its configuration as keyword-only arguments.

    Attributes:
        space: What it compresses.
        latent: What it compresses to.
        players: The players who move in one training step, in order; with an adversary ``("critic", "model")``.
        trains: Whether it learns. One that does not needs no ``loss``, and brings its weights with it.
        reference: Of a codec that does not learn: where its weights come from, such as a ``place`` and a
            ``revision``. A checkpoint holds this and a digest of the weights in place of them.
        sizes: The arguments that follow from the space where a recipe leaves them out, as they were chosen.
    """

    trains: bool = True
    reference: Mapping[str, str] = {}
    players: tuple[str, ...] = ("model",)
    space: Space
    sizes: Mapping[str, Any] = {}
    latent: Space

    __init_subclass__ = check_constructor

    @classmethod
    @abstractmethod
    def accepts(cls, space: Space) -> str | None:
        """None if it can compress this space, else the reason why not."""

    def loss(self, target: Field, player: str, keys: Tensor) -> Losses:
        """The terms of one player's move, (B,) each."""
        raise NotImplementedError

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        """The parameters that ``player`` moves. Players partition the parameters."""
        yield from self.parameters() if player == "model" else ()

    @property
    def digest(self) -> str:
        """Names weights that it computes with and that are none of its parameters; empty if there are none."""
        return ""

    def bind(self, modality: Modality) -> None:
        """Says whose values it compresses; the model calls it once.

        Raises:
            ConfigError: It cannot compress this modality.
        """

    def release(self) -> None:
        """Gives back memory that is not needed while the model trains."""

    @abstractmethod
    def encode(self, field: Field) -> Field:
        """Values in ``space`` -> values in ``latent``, standardised if continuous, ids if discrete. Deterministic."""

    @abstractmethod
    def decode(self, latent: Field) -> Field:
        """Values in ``latent`` -> values in ``space``."""

    def initialise(self, fields: list[Field]) -> None:
        """Called once before training with some training values, for what has a closed form."""

    def calibrate(self, fields: list[Field]) -> dict[str, float]:
        """Called once after training with some training values, to fix the latents' scale.

        Returns:
            What is worth knowing of the codec, by name; the run folder keeps it.
        """
        return {}
