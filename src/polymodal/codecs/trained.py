"""A picture codec that comes trained with the package, for pictures of any size."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import torch
from pydantic import NonNegativeFloat
from safetensors.torch import load_file
from torch import Tensor, nn

from polymodal.codecs.base import Codec
from polymodal.codecs.convolutional import ConvolutionalAutoencoder
from polymodal.nn.random import fold, length_first, normal
from polymodal.types import Field, Losses, Space

LATENT = 32
SHAPE: dict[str, Any] = {"channels": (96, 192), "blocks": 1, "patch": 4}
"""Of the network whose weights ``trained_weights`` holds; 8 x 8 pixels are one place."""
REVISION = "pictures-8x8-1"


@cache
def _weights() -> dict[str, Tensor]:
    """Of the network, ``mean`` and ``std`` of the code, in single precision."""
    with as_file(files("polymodal.codecs") / "weights" / f"{REVISION}.safetensors") as path:
        return {name: tensor.float() for name, tensor in load_file(path, device="cpu").items()}


class TrainedAutoencoder(Codec):
    """Maps pictures (1 or 3, H, W) to (32, H / 8, W / 8), rounded up, by weights that come with the package.

    Made of photographs, icons and drawings; ``codecs/weights/README.md`` says which, and what it is not good for. Grey
    pictures are read as coloured ones, and the mean of the colours is written.

    Args:
        space: Of pictures, whose numbers have bounds.
        tune: Whether the way back learns from the training rows, for ``train.codec_share`` of the minutes. The codes
            stay as they are.
        edge_weight: Weight of the absolute error in differences of neighbours, for sharp edges; where it is tuned.
        noise: Of codes, beside their own deviation, that the way back learns to bear; where it is tuned.
    """

    trains = False

    def __init__(
        self,
        space: Space,
        *,
        tune: bool = False,
        edge_weight: NonNegativeFloat = 0.5,
        noise: NonNegativeFloat = 0.05,
    ):
        super().__init__()
        self.space, self.trains, self.edge_weight, self.noise = space, tune, edge_weight, noise
        low, high = space.bounds or (-1.0, 1.0)
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        coloured = Space("continuous", (3, *space.grid), bounds=(-1.0, 1.0))
        self.network = ConvolutionalAutoencoder(coloured, LATENT, LATENT, **SHAPE)
        self.latent = Space("continuous", (LATENT, *self.network.grid))
        self.reference = {} if tune else {"place": "the package itself", "revision": REVISION}
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(LATENT))
        self.register_buffer("std", torch.ones(()))
        if not self.mean.is_meta:
            self.load_state_dict(_weights())

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        picture = space.kind == "continuous" and len(space.grid) == 2 and space.channels in (1, 3)
        if picture and not space.variable and space.bounds:
            return None
        return "compresses pictures, grey or coloured, whose numbers have bounds"

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        if player == "model" and self.trains:
            for part in (self.network.expand, self.network.up, self.network.proj_out, self.network.unproject):
                yield from part.parameters()

    def loss(self, target: Field, player: str, keys: Tensor) -> Losses:
        """``reconstruction`` and ``edges``, means per element of the row, from codes with noise."""
        value = self._coloured(target)
        with torch.no_grad():
            code, _ = self.network.analyse(value)
            scale = self.noise * self.std * normal(fold(keys, 1), (1, 1, 1)).abs()
            code = code + scale * length_first(keys, code.shape[1:])
        return self.network.errors(self.network.synthesise(code, None), value.value, None, self.edge_weight)

    def encode(self, field: Field) -> Field:
        code, _ = self.network.analyse(self._coloured(field))
        return field.with_value((code - self.mean.view(1, -1, 1, 1)) / self.std)

    def decode(self, latent: Field) -> Field:
        made = self.network.synthesise(latent.value * self.std + self.mean.view(1, -1, 1, 1), None)
        made = made if self.space.channels == 3 else made.mean(1, keepdim=True)
        return latent.with_value(self._middle + self._half * made)

    def _coloured(self, field: Field) -> Field:
        """Three colours in [-1, 1]."""
        return field.with_value(((field.value - self._middle) / self._half).expand(-1, 3, -1, -1))
