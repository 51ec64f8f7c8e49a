"""Any grid -> tokens: one for each of its patches, then a transformer."""

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Sides
from polymodal.encoders.base import Encoder
from polymodal.nn.embeddings import grid_positions
from polymodal.nn.patches import Patches
from polymodal.nn.transformer import Transformer
from polymodal.types import Field, Space, Tokens


class PatchEncoder(Encoder):
    """Cuts any grid of up to three dimensions, of which any axis may vary, into patches: video, volumes, point sets.

    Source: Dosovitskiy et al., "An image is worth 16x16 words", 2021; for video Arnab et al., "ViViT", 2021.

    Args:
        space: Continuous (channels, *grid).
        width: Width of the tokens.
        patch: Side of a patch, or one for each axis; one that is larger than the grid becomes the grid. By default
            powers of two that give at most 256 tokens, the longest sides being cut most.
        factorised: Whether blocks attend within a frame and over time in turn, for videos of many tokens.
        depth: Transformer blocks.
        heads: Attention heads.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        patch: Sides | None = None,
        depth: NonNegativeInt = 2,
        heads: PositiveInt = 4,
        factorised: bool = False,
    ):
        super().__init__()
        self.patches = Patches(space, patch, most=256)
        self.sizes = {"patch": self.patches.argument}
        self.frame = self.patches.frame if factorised else None
        self.proj_in = nn.Linear(self.patches.features, width)
        self.positions: Tensor
        self.register_buffer("positions", grid_positions(self.patches.cells, width)[None], persistent=False)
        self.transformer = Transformer(width, depth, heads)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if space.kind == "continuous" and not space.is_set and 1 <= len(space.grid) <= 3:
            return None
        return "reads values on grids of one to three dimensions, whose places have an order"

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        x = self.patches.cut(field.value * field.real if field.varies is not None else field.value)
        mask = self.patches.mask(field.mask)
        x = self.proj_in(x) + self.patches.trim(self.positions, x.shape[1])
        return Tokens(self.transformer(x, mask=mask, frame=self.frame), mask, self.patches.places(x))
