"""Text, codes and labels -> tokens: an embedding, then a transformer."""

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Share
from polymodal.encoders.augment import drop_tokens
from polymodal.encoders.base import Encoder
from polymodal.nn.transformer import Transformer
from polymodal.types import Field, Space, Tokens


class SequenceEncoder(Encoder):
    """One token per id.

    Args:
        space: Discrete (length,).
        width: Width of the tokens.
        depth: Transformer blocks; 0 embeds only, which is enough for a label.
        heads: Attention heads.
        token_dropout: Share of the ids that are hidden in training.
    """

    def __init__(
        self, space: Space, width: int, *, depth: NonNegativeInt = 2, heads: PositiveInt = 4, token_dropout: Share = 0.0
    ):
        super().__init__()
        self.token_dropout = token_dropout
        self.embedding = nn.Embedding(space.vocab, width)
        self.transformer = Transformer(width, depth, heads, rotary=True) if depth else None

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None if space.kind == "discrete" else "reads ids (text, labels, codes)"

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        x = self.embedding(field.value.long())
        if keys is not None and self.token_dropout:
            x = drop_tokens(x, keys, self.token_dropout)
        mask = field.mask if field.mask.shape[1] == x.shape[1] else field.mask.expand(-1, x.shape[1])
        return Tokens(self.transformer(x, mask=mask) if self.transformer else x, mask)
