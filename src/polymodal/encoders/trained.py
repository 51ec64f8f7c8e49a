"""Encoders of pictures and of words that come trained with the package, with one space for both."""

from functools import cache
from importlib.resources import as_file, files

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from polymodal.encoders.augment import jitter_picture
from polymodal.encoders.base import Encoder
from polymodal.modalities import Modality, Text
from polymodal.nn.conv import ChannelNorm, Downsample, ResidualBlock, channels_last, convolution, unshuffle
from polymodal.nn.embeddings import grid_positions
from polymodal.nn.layers import Linear
from polymodal.nn.transformer import Transformer
from polymodal.types import Field, Space, Tokens

REVISION = "pictures-words-1"
WIDTH = 256
SIDE, CELLS = 64, 4
"""Pixels of the pictures that the picture tower reads, and places of its map, along a side."""
PIECES, PART = 8192, 64
"""Ids of the vocabulary, and how many of a longer text the word tower reads together."""


@cache
def _weights() -> dict[str, Tensor]:
    """Of both towers, in single precision."""
    with as_file(files("polymodal.encoders") / "weights" / f"{REVISION}.safetensors") as path:
        return {name: tensor.float() for name, tensor in load_file(path, device="cpu").items()}


class PictureTower(nn.Module):
    """Pictures (B, 3, 64, 64) in [-1, 1] -> a map (B, 16, 256), and a place (B, 256) in the space of both towers."""

    compiled = ("forward",)

    def __init__(self) -> None:
        super().__init__()
        self.proj_in = convolution(12, 32, 2)
        self.blocks = nn.Sequential(
            Downsample(32, 64, 2), ResidualBlock(64, 2), ResidualBlock(64, 2),
            Downsample(64, 128, 2), ResidualBlock(128, 2), ResidualBlock(128, 2), ResidualBlock(128, 2),
            Downsample(128, WIDTH, 2), ResidualBlock(WIDTH, 2), ChannelNorm(WIDTH),
        )  # fmt: skip
        self.project = Linear(WIDTH, WIDTH)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(self.proj_in(unshuffle(channels_last(picture)))).flatten(2).transpose(1, 2)
        return x, F.normalize(self.project(x.mean(1)), dim=1)


class WordTower(nn.Module):
    """Ids (B, L) -> states (B, L, 256), and a place (B, 256) in the space of both towers.

    Few numbers for each piece, and a map that all share, need less room. Source: Lan et al., "ALBERT: a lite BERT for
    self-supervised learning of language representations", 2020.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(PIECES, 128)
        self.expand = Linear(128, WIDTH)
        self.transformer = Transformer(WIDTH, 2, 4, rotary=True, intermediate_size=512)
        self.project = Linear(WIDTH, WIDTH)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``mask`` (B, L) says which ids are real."""
        length = min(ids.shape[1], PART)
        ids, real = (F.pad(x, (0, -x.shape[1] % length)).reshape(-1, length) for x in (ids, mask))
        seen = real | (torch.arange(length, device=ids.device) == 0)  # a part of nothing but padding attends to it
        x = self.transformer(self.expand(self.embedding(ids)), mask=seen)
        x = x.reshape(len(mask), -1, WIDTH)[:, : mask.shape[1]] * mask[..., None]
        return x, F.normalize(self.project(x.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)), dim=1)


class TrainedEncoder(Encoder):
    """Pictures, or texts and class names, by weights that come with the package; both have one space.

    The first token is the value's place in that space, where a picture lies near what it is called. The others are the
    16 cells of a picture's map, or the pieces of a text. Pictures of any size are read as 64 x 64 pixels. What it was
    made of, and what it is not good for, is in ``encoders/weights/README.md``.

    Source: Radford et al., "Learning transferable visual models from natural language supervision", 2021.

    Args:
        space: Of pictures, whose numbers have bounds, or of ids.
        width: Width of the tokens, where it is tuned.
        tune: Whether it learns with the model, from these weights on. Else every distinct training value is read once.
        augment: Strength of the augmentation of pictures in training, where it is tuned; 0 for none.
    """

    trains = False
    rows: Tensor
    columns: Tensor
    positions: Tensor

    def __init__(self, space: Space, width: int, *, tune: bool = False, augment: NonNegativeFloat = 0.3):
        super().__init__()
        self.trains, self.augment, self.width = tune, augment, WIDTH
        self.reference = {} if tune else {"place": "the package itself", "revision": REVISION}
        self._words: Modality | None = None
        self._pieces: Text | None = None
        if space.kind == "discrete":
            self.words = WordTower()
        else:
            self.pictures = PictureTower()
            low, high = space.bounds or (-1.0, 1.0)
            self._middle, self._half = (low + high) / 2, (high - low) / 2
            for axis, side in zip(("rows", "columns"), space.grid, strict=True):
                self.register_buffer(axis, _scaling(side), persistent=False)
            self.register_buffer("positions", grid_positions((CELLS, CELLS), WIDTH), persistent=False)
        self.project = Linear(WIDTH, width, bias=True) if tune else None
        if not next(self.parameters()).is_meta:
            self.load_state_dict({name: w for name, w in _weights().items() if hasattr(self, name.split(".")[0])},
                                 strict=not tune)  # fmt: skip

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        picture = len(space.grid) == 2 and space.bounds is not None and space.channels in (1, 3) and not space.variable
        return None if space.kind == "discrete" or picture else "reads pictures whose numbers have bounds, and words"

    @property
    def no_graph(self) -> str:
        if self._words is None:
            return ""
        return "reads text by a vocabulary that is not the field's; `tokenizer: trained` gives it the same one"

    def bind(self, modality: Modality) -> None:
        """Values of another vocabulary than the package's are read as the text that they are written as."""
        if modality.space.kind == "discrete" and not modality.comes_trained:
            self._words, self._pieces = modality, Text(1 << 30, "trained")

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        if hasattr(self, "pictures"):
            value = self._picture(field.value)
            if keys is not None and self.trains and self.augment:
                s = self.augment
                value = jitter_picture(value, keys, scale=0.15 * s, shift=0.06 * s, colour=0.15 * s)
            x, place = self.pictures(value)
            x = x + self.positions
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        else:
            ids, mask = self._ids(field)
            x, place = self.words(ids, mask)
        # Of unit vectors, so that its numbers are as large as the others.
        x = torch.cat([place[:, None] * WIDTH**0.5, x], dim=1)
        return Tokens(self.project(x) if self.project else x, F.pad(mask, (1, 0), value=True))

    def _picture(self, value: Tensor) -> Tensor:
        """(B, 3, 64, 64) in [-1, 1]."""
        value = self.rows @ value @ self.columns.mT
        return ((value - self._middle) / self._half).expand(-1, 3, -1, -1)

    def _ids(self, field: Field) -> tuple[Tensor, Tensor]:
        """Ids of the package's vocabulary and their mask, (B, L) each."""
        if self._words is None or self._pieces is None:
            return field.value.long(), field.mask.expand_as(field.value)
        values = [str(self._words.write(value.detach())) for value in field.values()]
        rows = [torch.from_numpy(self._pieces.read(value)).long() for value in values]
        ids = pad_sequence(rows, batch_first=True).to(field.value.device)
        return ids, ids != Text.PAD


def _scaling(side: int) -> Tensor:
    """The matrix (64, side) that brings one side of a picture to 64 pixels, each the mean of those that it covers."""
    whole = torch.eye(side)[None, None]
    return F.interpolate(whole, (SIDE, side), mode="bilinear", antialias=True)[0, 0]
