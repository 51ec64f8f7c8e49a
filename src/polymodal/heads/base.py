"""What every head is: p(field | context)."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor, nn

from polymodal.arguments import check_arguments, check_constructor
from polymodal.errors import ConfigError
from polymodal.modalities import Modality
from polymodal.types import Context, Field, Losses, Space

LIKELIEST = {"temperature": 0.0, "decoder_temperature": 0.0, "length_temperature": 0.0}
"""Sampling options by which ids are the likeliest ones."""
UNGUIDED = {"guidance": 1.0}
"""Guidance leads away from what is usual, and so from the mean and from what is likeliest."""


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """The sampling options of a head that has none."""


class Head(nn.Module, ABC):
    """Models one field given a context.

    A constructor takes ``(space, width)`` by position, which the model fills in, and its configuration as
    keyword-only arguments, which recipes name and whose annotations bound them.

    Attributes:
        space: What it models.
        players: The players who move in one training step, in order; of an adversarial head ``("critic", "model")``.
        options: How it samples by default: a frozen dataclass whose annotations bound its fields.
        signed: Names of its loss terms that 0 does not bound below, such as densities.
        sizes: The arguments that follow from the space where a recipe leaves them out, as they were chosen.
        reference: Of a head that computes with weights that are none of its parameters: where they come from, which a
            checkpoint holds in place of them.
    """

    players: ClassVar[tuple[str, ...]] = ("model",)
    space: Space
    sizes: Mapping[str, Any] = {}
    signed: Collection[str] = ()
    reference: Mapping[str, str] = {}
    options: Any = NoOptions()

    __init_subclass__ = check_constructor

    @classmethod
    @abstractmethod
    def accepts(cls, space: Space) -> str | None:
        """None if it can model this space, else the reason why not."""

    @property
    def digest(self) -> str:
        """Names weights that it computes with and that are none of its parameters; empty if there are none."""
        return ""

    def bind(self, modality: Modality) -> None:
        """Says whose values it makes, which a pretrained head brings to a form of its own; the model calls it once.

        Raises:
            ConfigError: It cannot make values of this modality.
        """

    @abstractmethod
    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """Loss terms (B,) for one player's move.

        Args:
            context: What is known, B rows.
            target: The real values, B rows, all present.
            player: One of ``players``.
            keys: (B,) random keys of the rows; see ``nn.random``.
        """

    def sample(self, context: Context, keys: Tensor, *, unconditional: Context | None = None, **options: Any) -> Field:
        """One value per row of ``context``, drawn from the head.

        Args:
            context: What is known, B rows.
            keys: (B,) random keys: row k depends on key k alone.
            unconditional: Context of the same rows with nothing visible, for guidance.
            options: What differs from ``self.options`` (guidance, steps, temperature, ...).

        Raises:
            ConfigError: An option is unknown, of another type or out of its bounds.
        """
        return self.draw(context, keys, unconditional, self.options_with(options))

    @abstractmethod
    def draw(self, context: Context, keys: Tensor, unconditional: Context | None, options: Any) -> Field:
        """What ``sample`` gives.

        Args:
            context: What is known, B rows.
            keys: (B,) random keys: row k depends on key k alone.
            unconditional: Context of the same rows with nothing visible, for guidance.
            options: All sampling options, checked.
        """

    def options_with(self, given: Mapping[str, Any], where: str = "options") -> Any:
        """``options``, those that are given replaced.

        Args:
            given: Sampling options by name.
            where: What the names in messages follow.

        Raises:
            ConfigError: One is unknown, of another type or out of its bounds, or they do not fit one another.
        """
        kind = type(self.options)
        options = kind(**check_arguments(kind, vars(self.options) | dict(given), where))
        try:
            self.check_options(options)
        except ConfigError as error:
            raise ConfigError(f"{where}.{error}") from None
        return options

    def preferring(self, given: Mapping[str, Any], better: Mapping[str, Any]) -> dict[str, Any]:
        """Sampling options, and of the better ones those that it has, were not named, and fit the others."""
        options = dict(given)
        for option, value in better.items():
            if option in self.option_names and option not in options:
                with suppress(ConfigError):  # a shortcut of a flow knows one guidance
                    self.options_with(options | {option: value})
                    options[option] = value
        return options

    def check_options(self, options: Any) -> None:
        """Refuses sampling options that do not fit one another, or the space, each of which is within its bounds.

        Raises:
            ConfigError: They do not; the message starts with the name of an option.
        """

    @property
    def option_names(self) -> frozenset[str]:
        """Names of its sampling options."""
        return frozenset(field.name for field in fields(self.options))

    def log_likelihood(self, context: Context, target: Field, keys: Tensor) -> Tensor | None:
        """(B,) log p(target | context) of whole rows in nats, or a bound below it; None if the head has neither.

        Args:
            context: What is known, B rows.
            target: B rows, all present.
            keys: (B,) random keys, for heads that estimate it.
        """
        return None

    def support(self, context: Context) -> tuple[Tensor, Tensor] | None:
        """Values (V, B, *shape) that stand for p(field | context), and their weights (V, B), which sum to 1 over V.

        None of a head that can only be drawn from.
        """
        return None

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        """The parameters that ``player`` moves. Players partition the parameters."""
        yield from self.parameters() if player == "model" else ()

    def lr_scale(self, player: str, progress: float) -> float:
        """Factor of the learning rate with which ``player`` moves now; asked before each of its moves, once a step.

        That of ``model`` is 1 of every head, for all of them move as one. A head may count its steps here, for its loss
        is asked for several times in a step, or never.

        Args:
            player: One of ``players``.
            progress: Share of the training that is over.
        """
        return 1.0

    def decisions(self) -> list[str]:
        """What it decided about its training since the last call, one line each, for the log."""
        return []
