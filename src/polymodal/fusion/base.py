"""What every fusion is: tokens of the visible fields -> one context."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from polymodal.arguments import check_constructor
from polymodal.errors import ConfigError
from polymodal.types import Context, Tokens


class Fusion(nn.Module, ABC):
    """Joins the tokens of many fields into one context.

    A constructor takes ``(fields, width)`` by position, the fields' names in order and the model's width, and its
    configuration as keyword-only arguments.

    Attributes:
        joint: Whether the context is a draw from a latent, from which all outputs of a row are generated; else each
            output is conditioned on those before it.
        keeps: What a context's tokens are, after one of no field, in the order of the fields: all ``tokens`` of each,
            one of each of the ``fields`` that are visible, or nothing of the kind.
    """

    joint: ClassVar[bool] = False
    keeps: ClassVar[Literal["tokens", "fields"] | None] = None

    __init_subclass__ = check_constructor

    @abstractmethod
    def forward(
        self, tokens: Mapping[str, Tokens], rows: int, device: torch.device, keys: Tensor | None = None
    ) -> Context:
        """Tokens of the visible fields -> context.

        Args:
            tokens: By field. A row in which the field is not visible has an all-False mask. A field that no row
                sees may be left out: the result is the same.
            rows: B, known even if no field is visible at all.
            device: Where the context is made.
            keys: (B,) random keys, for a fusion that draws; without them it takes what is likeliest.
        """

    def fit_prior(
        self, z: Tensor, *, kind: Any = "mixture", components: int = 50, steps: int = 2000, seed: int = 0
    ) -> float:
        """Puts a prior over the joint latent in place of the one that generation from nothing drew from; see ``joint``.

        Args:
            z: Draws (N, Z) of what training rows say, all their fields visible, in any order.
            kind: ``standard``, ``mixture`` or ``flow``.
            components: Of a mixture.
            steps: Of a flow's training.
            seed: Seed of everything that is random.

        Returns:
            The mean log-likelihood of the last tenth of the draws, which is held out, in nats.

        Raises:
            ConfigError: There is no joint latent.
        """
        raise ConfigError("there is no joint latent, and so no prior to fit")
