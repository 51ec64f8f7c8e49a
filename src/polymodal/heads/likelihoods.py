"""The two ends of a variational autoencoder, for values and for ids: target -> features, and latent vector -> target.

Shapes: B rows, Z latent dimensions, H the width inside, W that of the context.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.heads.autoregressive import Autoregressive
from polymodal.heads.token_sampling import SequenceOptions
from polymodal.heads.values import ValueDecoder
from polymodal.nn.grids import GridEncoder
from polymodal.nn.layers import Linear
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Field, Space


class Values(ValueDecoder):
    """Continuous values: a convolutional encoder and decoder.

    Args:
        space: Continuous, of 0 to 2 dimensions.
        width: W.
        latent: Z.
        hidden_size: H.
        channels: Channels of each level, from the finest to the coarsest; of a vector, the widths of its layers.
        blocks: Residual blocks of each level.
        patch: Side of the patches that the finest level reads and puts out.
        variance: Of the likelihood; None for the optimal one.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        latent: int,
        hidden_size: int,
        channels: tuple[int, ...],
        blocks: int,
        patch: int,
        variance: float | None,
    ) -> None:
        sizes: dict[str, Any] = {"channels": channels, "blocks": blocks, "patch": patch}
        # Where a length varies, a mask beside the value says what is real of the greatest length.
        encoder = GridEncoder(Space("continuous", (space.channels + space.variable, *space.grid)), hidden_size, **sizes)
        super().__init__(space, width, latent=latent, hidden_size=hidden_size, variance=variance, **sizes)
        self.encoder = encoder

    def features(self, context: Context, target: Field) -> Tensor:
        """(B, H)."""
        value = target.value
        if self.space.variable:
            real = target.real
            value = torch.cat([value * real, real.expand_as(value[:, :1])], dim=1)
            value = F.pad(value, (0, self.space.max_length - value.shape[-1]))
        if value.dim() == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        return self.encoder(value)


class Ids(nn.Module):
    """Ids: a transformer reads them, and an autoregressive head, which sees z beside the context, writes them.

    Source: Bowman et al., "Generating sentences from a continuous space", 2016.

    Args:
        space: Discrete.
        width: W.
        latent: Z.
        hidden_size: H.
        depth: Transformer blocks of the reader, and of the writer.
        heads: Attention heads.
        word_dropout: Share of the ids before that the writer does not see in training.

    Raises:
        ConfigError: ``heads`` does not divide half of H.
    """

    length = None  # the end of a text is one of its ids

    def __init__(
        self, space: Space, width: int, *, latent: int, hidden_size: int, depth: int, heads: int, word_dropout: float
    ) -> None:
        super().__init__()
        self.decoder = Autoregressive(
            space, width, depth=depth, heads=heads, hidden_size=hidden_size, word_dropout=word_dropout
        )
        self.embedding = nn.Embedding(space.vocab, hidden_size)
        self.encoder = Transformer(hidden_size, depth, heads, rotary=True, context_width=width)
        self.proj_context = Linear(latent, width)

    def features(self, context: Context, target: Field) -> Tensor:
        """(B, H): the mean over the real positions."""
        ids = target.value.long()
        mask = target.mask.expand_as(ids)
        x = self.encoder(self.embedding(ids), mask=mask, context=context.tokens, context_mask=context.mask)
        return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def nll(self, z: Tensor, context: Context, target: Field, keys: Tensor) -> Tensor:
        """-log p(target | z, context) (B,), in nats; with word dropout in training."""
        mean = self.decoder.loss(self._with(z, context), target, "model", keys)["nll"]
        return mean * self.size(target)

    def size(self, target: Field) -> Tensor:
        """Real ids of each row (B,)."""
        return target.mask.expand_as(target.value).sum(1)

    def sample(
        self,
        z: Tensor,
        context: Context,
        keys: Tensor,
        *,
        decoder_temperature: float = 1.0,
        **options: Any,
    ) -> Field:
        """Ids for z (B, Z); other options as of ``SequenceOptions``."""
        chosen = SequenceOptions(temperature=decoder_temperature, **options)
        return self.decoder.draw(self._with(z, context), keys, None, chosen)

    def _with(self, z: Tensor, context: Context) -> Context:
        """The context with z as one more token, and in the pooled vector."""
        token = self.proj_context(z)
        tokens = torch.cat([context.tokens, token[:, None]], dim=1)
        mask = torch.cat([context.mask, context.mask.new_ones(len(z), 1)], dim=1)
        return Context(tokens, mask, context.pooled + token)
