"""What every head is: p(field | context)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn

from polymodal.types import Context, Field, Losses, Space


class Head(nn.Module, ABC):
    """Models one field given a context.

    A constructor takes ``(space, width)`` by position, which the model fills in, and its configuration as
    keyword-only arguments, which recipes name.

    Attributes:
        space: What it models.
        players: The players who move in one training step, in order. An adversarial head says ``("critic", "model")``.
    """

    players: ClassVar[tuple[str, ...]] = ("model",)
    space: Space

    @classmethod
    @abstractmethod
    def accepts(cls, space: Space) -> str | None:
        """None if it can model this space, else the reason why not."""

    @abstractmethod
    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """Loss terms (B,) for one player's move.

        Args:
            context: What is known, B rows.
            target: The real values, B rows, all present.
            player: One of ``players``.
            keys: (B,) random keys of the rows; see ``nn.random``.
        """

    @abstractmethod
    def sample(self, context: Context, keys: Tensor, *, unconditional: Context | None = None, **options) -> Field:
        """One value per row of ``context``, drawn from the head.

        Args:
            context: What is known, B rows.
            keys: (B,) random keys: row k depends on key k alone.
            unconditional: Context of the same rows with nothing visible, for guidance.
            options: The head's own (guidance, steps, temperature, ...).
        """

    def log_likelihood(self, context: Context, target: Field, keys: Tensor) -> Tensor | None:
        """(B,) log p(target | context) of whole rows in nats, or a bound below it; None if the head cannot tell.

        Args:
            context: What is known, B rows.
            target: B rows, all present.
            keys: (B,) random keys, for heads that estimate it.
        """
        return None

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        """The parameters that ``player`` moves. Players partition the parameters."""
        yield from self.parameters() if player == "model" else ()

    def lr_scale(self, player: str, progress: float) -> float:
        """Factor of the learning rate with which ``player`` moves now; asked before each of its moves.

        Args:
            player: One of ``players``.
            progress: Share of the training that is over.
        """
        return 1.0

    def decisions(self) -> list[str]:
        """What it decided about its own training since it was last asked, one line each, for the log."""
        return []
