"""Sets -> tokens: learned queries attend to the members, so that their order does not count."""

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from polymodal.encoders.base import Encoder
from polymodal.nn.layers import SwiGLU, layer_norm
from polymodal.nn.sets import MemberEmbedding, SetReader
from polymodal.nn.transformer import Transformer
from polymodal.types import Field, Space, Tokens


class PointsEncoder(Encoder):
    """A few queries read the points of a shape, or the members of any set; then a transformer over what they read.

    Source: Zhang et al., "3DShape2VecSet: a 3D shape representation for neural fields and generative diffusion models",
    2023.

    Args:
        space: Continuous (channels, count), a set.
        width: Width of the tokens.
        latents: Queries, each of which becomes a token.
        depth: Transformer blocks.
        heads: Attention heads.
        most: Members that are read, evenly apart, where there are more.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        latents: PositiveInt = 16,
        depth: NonNegativeInt = 2,
        heads: PositiveInt = 4,
        most: PositiveInt = 1024,
    ):
        super().__init__()
        self.step = -(-space.shape[1] // most)
        self.embedding = MemberEmbedding(space.channels, width)
        self.norm, self.feed = layer_norm(width), SwiGLU(width, width)
        self.reader = SetReader(width, latents, heads)
        self.transformer = Transformer(width, depth, heads)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None if space.is_set and not space.variable else "reads sets of members of one number, such as points"

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        members = self.embedding(field.value.mT[:, :: self.step])
        members = members + self.feed(self.norm(members))
        x = self.transformer(self.reader(members))
        return Tokens(x, field.mask.expand(-1, x.shape[1]))
