"""Spectrograms and other sequences of vectors -> tokens: strided convolutions over time, then a transformer."""

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Probability, Share, Stages
from polymodal.encoders.augment import jitter_spectrogram
from polymodal.encoders.base import Encoder
from polymodal.nn.patches import pad_to_multiple, places_of, pool_mask
from polymodal.nn.transformer import Transformer
from polymodal.types import Field, Space, Tokens


class SpectrogramEncoder(Encoder):
    """Each stage of the stem halves the frames, so that the transformer sees frames / 2 ** stages tokens.

    Source: the encoder of Whisper (Radford et al. 2022), with a longer stem.

    Args:
        space: Continuous (channels, frames), the frames of any number.
        width: Width of the tokens.
        stages: How often the frames are halved.
        depth: Transformer blocks.
        heads: Attention heads.
        augment: Strength of the augmentation in training, 0 for none.
        speed: At strength 1 a sound is up to so much faster or slower than it is.
        shift: Furthest move in time at strength 1, as a share of the length.
        noise: Greatest deviation of noise at strength 1, in the spectrogram's unit.
    """

    compiled_any_length = ("_convolve",)

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        stages: Stages = 3,
        depth: NonNegativeInt = 2,
        heads: PositiveInt = 4,
        augment: NonNegativeFloat = 1.0,
        speed: Share = 0.0,
        shift: Probability = 0.0,
        noise: NonNegativeFloat = 0.0,
    ):
        super().__init__()
        self.augment, self.speed, self.shift, self.noise = augment, speed, shift, noise
        self.factor = 2**stages
        self.longest = space.grid[0] / self.factor
        sizes = [space.channels, *[width] * stages]
        self.stem = nn.ModuleList(
            nn.Conv1d(source, target, 5, stride=2, padding=2) for source, target in zip(sizes, sizes[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(stages))
        self.transformer = Transformer(width, depth, heads, rotary=True)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if space.kind == "continuous" and len(space.grid) == 1 and not space.is_set:
            return None
        return "reads sequences (channels, frames)"

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        value, mask = field.value, field.mask
        if mask.shape[1] != value.shape[-1]:  # one length for all: every frame is real
            mask = mask.expand(-1, value.shape[-1])
        if keys is not None and self.augment:
            s = self.augment
            more = {"speed": self.speed * s, "shift": self.shift * s, "noise": self.noise * s}
            value = jitter_spectrogram(
                value, mask.sum(1), keys, warp=0.12 * s, tilt=0.3 * s, masks=2, band=0.15, span=0.12, **more
            )
        x, mask = self._convolve(value, mask)
        return Tokens(self.transformer(x, mask=mask), mask, places_of(x.shape[1], self.longest, x))

    def _convolve(self, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = pad_to_multiple(value * mask[:, None], self.factor)
        mask = pad_to_multiple(mask, self.factor)
        for convolve, norm in zip(self.stem, self.norms, strict=True):
            mask = pool_mask(mask, 2)
            x = nn.functional.silu(norm(convolve(x).transpose(1, 2))).transpose(1, 2) * mask[:, None]
        return x.transpose(1, 2), mask
