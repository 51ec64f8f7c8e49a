"""Finite scalar quantisation: a convolutional autoencoder whose code is a few digits of each place."""

import math
from collections.abc import Iterator
from typing import Annotated

import pydantic
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Sides, Sizes
from polymodal.codecs.adversary import make_adversary, moved_by
from polymodal.codecs.base import Codec
from polymodal.codecs.convolutional import ConvolutionalAutoencoder, refusal, usual_levels
from polymodal.nn.shapes import longest
from polymodal.types import Field, Losses, Space

END, FIRST = 1, 3
"""Where lengths vary, codes begin at FIRST and a sequence ends in END, as in text; 0 pads."""
Levels = Annotated[tuple[Annotated[int, pydantic.Field(ge=2)], ...], pydantic.Field(min_length=1)]


class FiniteScalarQuantizer(Codec):
    """Maps (channels, *grid) to ids: places of *grid / factor row by row, ``codes`` of each in a row.

    A place is squeezed to ``codes`` times as many numbers as there are levels. Each number is bounded and rounded to
    one of its levels, whose digits make the id; there is no codebook to learn. Gradients pass the rounding as if it
    were not there. A length that varies gives ids from 3, ended by 1, as ids of text are; otherwise they start at 0.

    Source: Mentzer et al., "Finite scalar quantization: VQ-VAE made simple", 2023, section 3. Here the levels have
    equal widths, and the bound is tanh(0.8 z), which is close to the normal distribution function: what is normally
    distributed, as the principal components with which it starts nearly are, uses all levels alike.

    Args:
        space: Continuous, a grid of one to three dimensions.
        levels: Of each number, best the greatest first; their product is the size of the vocabulary.
        codes: Ids of one place.
        channels: Channels of each level of the network, from the finest to the coarsest.
        blocks: Residual blocks per level, on either side.
        patch: Side of the patches that the first convolution reads, or one for each axis;
            factor = patch * 2 ** (channels - 1). By default the factor is 4, or as large as leaves 256 places or fewer;
            that of a clip is 2, or as large as leaves 512.
        edge_weight: Of the absolute error in differences of neighbours, which keeps edges sharp.
        adversarial: Weight of a critic's scores; see ``Adversary``.
        perceptual: Weight of the distance in that critic's features.

    Raises:
        ConfigError: The code is larger than what it codes, or an argument is out of its bounds.
    """

    SLOPE = 0.8

    def __init__(
        self,
        space: Space,
        *,
        levels: Levels = (8, 5, 5, 5),
        codes: PositiveInt = 1,
        channels: Sizes | None = None,
        blocks: NonNegativeInt = 1,
        patch: Sides | None = None,
        edge_weight: NonNegativeFloat = 1.0,
        adversarial: NonNegativeFloat = 0.0,
        perceptual: NonNegativeFloat = 0.0,
    ):
        super().__init__()
        self.space, self.codes, self.edge_weight = space, codes, edge_weight
        numbers = codes * len(levels)
        self.sizes = usual_levels(space, channels, patch)
        self.network = ConvolutionalAutoencoder(space, numbers, numbers, blocks=blocks, **self.sizes)
        self.adversary = make_adversary(space, self.network.factor, adversarial, perceptual)
        self.players = ("critic", "model") if self.adversary else ("model",)
        self.size = math.prod(levels)
        length = codes * math.prod(self.network.grid)
        self.per_step = codes * math.prod(self.network.grid[1:]) if space.variable else length
        vocab = self.size + FIRST if space.variable else self.size
        self.latent = Space("discrete", (length + space.variable,), vocab, varies=0 if space.variable else None)
        self.levels: Tensor
        self.worth: Tensor
        # The greatest components go to the first code of a place, so that those after it tell what is left.
        self.register_buffer("levels", torch.tensor(levels).repeat(codes), persistent=False)
        worth = torch.tensor([math.prod(levels[:place]) for place in range(len(levels))])
        self.register_buffer("worth", worth, persistent=False)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return refusal(space)

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        return moved_by(player, self, self.adversary)

    def loss(self, target: Field, player: str, keys: Tensor) -> Losses:
        """``reconstruction``, ``edges`` and the critic's terms, each weighted, means per element of the row."""
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            features, mask = self.network.analyse(target)
            bounded = torch.tanh(self.SLOPE * features.movedim(1, -1))
            code = bounded + (self._value(self._digits(bounded)) - bounded).detach()
            made = self.network.synthesise(code.movedim(-1, 1), mask)
        value, real = self.network.real(target)
        if self.adversary and player == "critic":
            return self.adversary.loss(value, made, real, keys)
        losses = self.network.errors(made, value, real, self.edge_weight)
        return losses | (self.adversary.advice(value, made, real) if self.adversary else {})

    def encode(self, field: Field) -> Field:
        features, mask = self.network.analyse(field)
        digits = self._digits(torch.tanh(self.SLOPE * features.movedim(1, -1)))
        ids = (digits.unflatten(-1, (self.codes, -1)) * self.worth).sum(-1).flatten(1)
        if mask is None:
            return Field(ids, field.mask, field.present, self.latent.varies)
        lengths = self.per_step * mask.flatten(1).sum(1, keepdim=True)
        place = torch.arange(ids.shape[1] + 1, device=ids.device)
        ids = torch.nn.functional.pad(ids + FIRST, (0, 1)).where(place < lengths, 0)
        return Field(ids.scatter(1, lengths, END), place <= lengths, field.present, self.latent.varies)

    def decode(self, latent: Field) -> Field:
        ids, grid, mask = latent.value, self.network.grid, latent.mask
        if self.space.variable:
            # Whatever a head wrote, there is at least one step along the length, and the last one is whole.
            real = ((ids >= FIRST) & mask).long().cumprod(1)
            count = (real.sum(1, keepdim=True) // self.per_step).clamp(min=1)
            grid = (longest(torch.arange(grid[0], device=ids.device) < count), *grid[1:])
            ids = torch.nn.functional.pad(ids * real, (0, self.per_step))[:, : grid[0] * self.per_step]
            ids = (ids - FIRST).clamp(min=0)
            mask = torch.arange(grid[0], device=ids.device) < count
        digits = (ids.view(len(ids), *grid, self.codes, 1) // self.worth).flatten(-2) % self.levels
        code = self._value(digits).movedim(-1, 1)
        return self.network.decode(code, Field(code, mask, latent.present, self.space.varies))

    @torch.no_grad()
    def initialise(self, fields: list[Field]) -> None:
        """Starts the linear part as the principal components of the patches, each of unit variance, quantised."""
        self.network.start_from_components(
            fields, whiten=True, quantise=lambda code: self._value(self._digits(torch.tanh(self.SLOPE * code)))
        )

    @torch.no_grad()
    def calibrate(self, fields: list[Field]) -> dict[str, float]:
        """Changes nothing; see ``usage``."""
        return self.usage(fields)

    @torch.no_grad()
    def usage(self, fields: list[Field]) -> dict[str, float]:
        """How the vocabulary is used by some values.

        Returns:
            ``codes``, the size of the vocabulary, END and the like apart; ``codes_used``, how many occur; and their
            ``perplexity``, the exponential of their entropy: how many codes, used alike, would tell as much.
        """
        first = FIRST if self.space.variable else 0
        ids = torch.cat([self.encode(field).value.flatten() for field in fields]) - first
        counts = torch.bincount(ids[ids >= 0], minlength=self.size).double()
        share = counts[counts > 0] / counts.sum()
        return {
            "codes": self.size,
            "codes_used": len(share),
            "perplexity": float(torch.exp(-(share * share.log()).sum())),
        }

    def _digits(self, bounded: Tensor) -> Tensor:
        """Levels 0 .. levels - 1 of numbers in (-1, 1), (..., numbers)."""
        return ((bounded + 1) / 2 * self.levels).long().clamp(max=self.levels - 1)

    def _value(self, digits: Tensor) -> Tensor:
        """The middles of the levels, in (-1, 1)."""
        return (2 * digits + 1) / self.levels - 1
