"""Videos -> tokens: a convolutional stem reads a few frames at a time, then a transformer looks over all of them."""

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn.functional import pad

from polymodal.arguments import Stages
from polymodal.encoders.augment import jitter_picture
from polymodal.encoders.base import Encoder
from polymodal.nn.conv import stem
from polymodal.nn.embeddings import grid_positions
from polymodal.nn.patches import Patches
from polymodal.nn.transformer import Transformer
from polymodal.types import Field, Space, Tokens


class FramesEncoder(Encoder):
    """The stem of ``PictureEncoder``, which sees neighbouring frames as channels, and a transformer over all places.

    What is in a frame is read by convolutions, which learn from far fewer clips than patches that are cut; what happens
    over time is left to attention.
    Source: the factorised encoder of Arnab et al., "ViViT: a video vision transformer", 2021, with the stem of Xiao et
    al., "Early convolutions help transformers see better", 2021.

    Args:
        space: Continuous (channels, frames, height, width), of which the frames may vary.
        width: Width of the tokens.
        frames: That are read together.
        channels: Channels of the first stage; each later stage has twice as many, at most ``width``.
        stages: How often the sides are halved.
        depth: Transformer blocks.
        heads: Attention heads.
        factorised: Whether blocks attend within a moment and over time in turn, for videos of many tokens.
        augment: Strength of the augmentation in training, the same for all frames of a clip; 0 for none.
        muon: Whether the matrices learn by Muon, whatever ``train.optimizer`` says; see ``PictureEncoder``.
    """

    compiled = ("_convolve",)

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        frames: PositiveInt = 2,
        channels: PositiveInt = 32,
        stages: Stages = 4,
        depth: NonNegativeInt = 2,
        heads: PositiveInt = 4,
        factorised: bool = False,
        augment: NonNegativeFloat = 0.0,
        muon: bool = False,
    ):
        super().__init__()
        self.muon, self.augment, self.frames = muon, augment, frames
        self.patches = Patches(space, (frames, 2**stages, 2**stages))
        self.frame = self.patches.frame if factorised else None
        self.stem = stem(space.channels * frames, channels, stages, width)
        self.positions: Tensor
        self.register_buffer("positions", grid_positions(self.patches.cells, width)[None], persistent=False)
        self.transformer = Transformer(width, depth, heads)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if space.kind == "continuous" and len(space.grid) == 3 and not space.is_set and space.varies in (None, 1):
            return None
        return "reads videos (channels, frames, height, width), whose frames are of one size"

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        value = (field.value * field.real if field.varies is not None else field.value).movedim(1, 2)
        if keys is not None and self.augment:
            s = self.augment
            every = keys.repeat_interleave(value.shape[1])
            jittered = jitter_picture(value.flatten(0, 1), every, scale=0.15 * s, shift=0.06 * s, colour=0.15 * s)
            value = jittered.unflatten(0, value.shape[:2])
        value = pad(value, (0, 0, 0, 0, 0, 0, 0, -value.shape[1] % self.frames))
        x = self._convolve(value.unflatten(1, (-1, self.frames)).flatten(2, 3))
        mask = self.patches.mask(field.mask)
        x = self.transformer(x + self.patches.trim(self.positions, x.shape[1]), mask=mask, frame=self.frame)
        return Tokens(x, mask, self.patches.places(x))

    def _convolve(self, value: Tensor) -> Tensor:
        """Moments (B, T, channels, height, width) -> (B, N, width)."""
        flat = value.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.stem(flat).flatten(2).mT.unflatten(0, value.shape[:2]).flatten(1, 2)
