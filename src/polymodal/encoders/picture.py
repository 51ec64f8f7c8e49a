"""Pictures -> tokens: a convolutional stem, then a transformer over the cells of its last map."""

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from polymodal.arguments import Stages
from polymodal.encoders.augment import jitter_picture
from polymodal.encoders.base import Encoder
from polymodal.nn.conv import stem
from polymodal.nn.embeddings import grid_positions
from polymodal.nn.transformer import Transformer
from polymodal.types import Field, Space, Tokens


class PictureEncoder(Encoder):
    """Each stage of the stem halves the sides, so that the transformer sees (side / 2 ** stages) ** 2 tokens.

    An early convolution, in place of one large patch, learns faster from little data.
    Source: Xiao et al., "Early convolutions help transformers see better", 2021.

    Args:
        space: Continuous (channels, height, width).
        width: Width of the tokens.
        channels: Channels of the first stage; each later stage has twice as many, at most ``width``.
        stages: How often the sides are halved.
        depth: Transformer blocks.
        heads: Attention heads.
        augment: Strength of the augmentation in training, 0 for none.
        rotate_degrees: Largest turn at strength 1.
        erase: Longest sides of a rectangle that is hidden at strength 1, as shares of the picture's.
        noise: Greatest deviation of noise at strength 1, in the picture's unit: what it shows is then trusted less
            where it is noisy.
        muon: Whether the matrices learn by Muon, whatever ``train.optimizer`` says: where a run sees each picture once
            or not at all, they learn more of each. It costs what some twenty more pictures in a batch would.
    """

    compiled = ("_convolve",)

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        channels: PositiveInt = 32,
        stages: Stages = 4,
        depth: NonNegativeInt = 2,
        heads: PositiveInt = 4,
        augment: NonNegativeFloat = 1.0,
        rotate_degrees: NonNegativeFloat = 0.0,
        erase: NonNegativeFloat = 0.0,
        noise: NonNegativeFloat = 0.0,
        muon: bool = False,
    ):
        super().__init__()
        self.muon = muon
        self.augment, self.rotate_degrees, self.erase, self.noise = augment, rotate_degrees, erase, noise
        self.stem = stem(space.channels, channels, stages, width)
        grid = tuple(-(-side // 2**stages) for side in space.grid)
        self.positions: Tensor
        self.register_buffer("positions", grid_positions(grid, width), persistent=False)
        self.transformer = Transformer(width, depth, heads)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if space.kind == "continuous" and len(space.grid) == 2 and not space.variable:
            return None
        return "reads pictures (channels, height, width) of one size"

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        value = field.value
        if keys is not None and self.augment:
            s = self.augment
            more = {"rotate_degrees": self.rotate_degrees * s, "erase": self.erase * s, "noise": self.noise * s}
            value = jitter_picture(value, keys, scale=0.15 * s, shift=0.06 * s, colour=0.15 * s, **more)
        x = self.transformer(self._convolve(value) + self.positions)
        return Tokens(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))

    def _convolve(self, value: Tensor) -> Tensor:
        return self.stem(value.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)
