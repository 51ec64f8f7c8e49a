"""Networks of flows: a noisy value cut into tokens, its time and a context -> as many tokens.

All have the same interface, and know nothing of what their output means. Shapes: B rows, each k of which share a row of
the context; N tokens of F features; W the context's width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.nn.embeddings import TimeEmbedding, grid_positions
from polymodal.nn.layers import layer_norm
from polymodal.nn.patches import Patches
from polymodal.nn.sets import MemberEmbedding, SetBlock
from polymodal.nn.transformer import Transformer
from polymodal.nn.unet import UNet
from polymodal.types import Context


class FlowCondition(nn.Module):
    """The time, the pooled context and how far a step goes, as one vector.

    Args:
        width: W.
        hidden_size: D, of the vector.
        levels: Lengths of steps that are known; one past the last is the velocity itself, which adds nothing. 0 for
            none.
    """

    def __init__(self, width: int, hidden_size: int, levels: int) -> None:
        super().__init__()
        self.time = TimeEmbedding(hidden_size)
        self.summary = nn.Linear(width, hidden_size)
        self.reach = nn.Embedding(levels + 1, hidden_size, padding_idx=levels) if levels else None
        if self.reach is not None:
            nn.init.zeros_(self.reach.weight)

    def forward(self, time: Tensor, pooled: Tensor, level: Tensor | None) -> Tensor:
        """Times (B,), contexts (B / k, W) and levels (B,) -> (B, D)."""
        condition = self.time(time) + self.summary(pooled).repeat_interleave(len(time) // len(pooled), 0)
        return condition if level is None or self.reach is None else condition + self.reach(level)


class TransformerBackbone(nn.Module):
    """A transformer over the tokens that attends to the context, modulated by the condition; it starts as zero.

    Source: Peebles and Xie, "Scalable diffusion models with transformers", 2023.

    Args:
        patches: Of the values.
        width: W.
        hidden_size: Width of the transformer.
        levels: Lengths of steps that are known, beside the velocity itself; 0 for none.
        depth: Blocks.
        heads: Attention heads.
        factorised: Whether blocks attend within a frame and over time in turn; see ``Transformer``.
        in_step: Whether half of the attention heads look at first at those tokens of the context that are at the same
            place along the axis that varies, or at the same share of their own length where they are in an order that
            has no times: their logits fall with the distance, by a slope that is learned.

    Raises:
        ConfigError: ``in_step`` of values of which no axis varies.
    """

    def __init__(
        self,
        patches: Patches,
        width: int,
        hidden_size: int,
        levels: int,
        *,
        depth: int,
        heads: int,
        factorised: bool = False,
        in_step: bool = False,
    ) -> None:
        super().__init__()
        if in_step and patches.axis is None:
            raise ConfigError("in_step: is for values whose length varies, as that of sound, videos and series does")
        self.patches = patches
        self.frame = patches.frame if factorised else None
        self.condition = FlowCondition(width, hidden_size, levels)
        self.proj_in = nn.Linear(patches.features, hidden_size)
        self.positions: Tensor
        self.register_buffer("positions", grid_positions(patches.cells, hidden_size)[None], persistent=False)
        self.transformer = Transformer(hidden_size, depth, heads, context_width=width, conditioned=True)
        self.slopes: nn.Parameter | None = None
        if in_step:
            near = -(-heads // 2)
            self.slopes = nn.Parameter(torch.cat([2.0 ** -torch.arange(near), torch.zeros(heads - near)]))
        self.proj_out = nn.Linear(hidden_size, patches.features)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def bias(self, x: Tensor, mask: Tensor, context: Context) -> Tensor | None:
        """Of the logits of attention by tokens (B, N, F) to a context of B / k rows: (B / k, heads, k N, M).

        Source: the linear biases of Press et al., "Train short, test long" (ALiBi), 2022, with slopes that are learned;
        for what is only in an order, the diagonal of Tachibana et al., "Efficiently trainable text-to-speech system
        based on deep convolutional networks with guided attention", 2018, section 4.
        """
        own = self.patches.places(x)
        if self.slopes is None or context.places is None or own is None:
            return None
        draws, cells = len(x) // len(context.places), self.patches.cells[self.patches.axis or 0]
        time, order = context.places[:, None].unbind(-1)  # (B / k, 1, M) each
        length = (own * mask[::draws]).amax(1)[:, None, None] + 0.5 / cells  # the row's own, as a share of the longest
        apart = (own[:, None] - time).abs() * (time >= 0) + (own[:, None] - length * order).abs() * (order >= 0)
        return (-cells * self.slopes[:, None, None] * apart[:, None]).repeat(1, 1, draws, 1)

    def forward(self, x: Tensor, mask: Tensor, time: Tensor, context: Context, level: Tensor | None = None) -> Tensor:
        """Tokens (B, N, F) with mask (B, N), times (B,), a context of B / k rows and levels (B,) -> (B, N, F)."""
        h = self.proj_in(x) + self.patches.trim(self.positions, x.shape[1])
        condition = self.condition(time, context.pooled, level)
        h = self.transformer(
            h, mask=mask, context=context.tokens, context_mask=context.mask, context_bias=self.bias(x, mask, context),
            condition=condition, frame=self.frame,
        )  # fmt: skip
        return self.proj_out(h)


class UNetBackbone(nn.Module):
    """A U-Net over the grid of the patches, modulated by time and pooled context; it starts as zero.

    A side of one patch is none: a clip cut into patches that last as long as it is a picture of many channels.

    Args:
        patches: Of the values, of which the first side alone may vary.
        width: W.
        hidden_size: Width of the vector that modulates the U-Net.
        levels: Lengths of steps that are known, beside the velocity itself; 0 for none.
        channels: Channels of each level of the U-Net, from the finest.
        attention: Whether its coarsest level attends to the context's tokens.
        heads: Attention heads there.
        sketch: Whether its coarsest level begins with a sketch, place by place, of what the condition says; not where
            more than one patch lies along a side that varies.

    Raises:
        ConfigError: Another side than the first varies, or the grid has no dimensions, or more than three.
    """

    def __init__(
        self,
        patches: Patches,
        width: int,
        hidden_size: int,
        levels: int,
        *,
        channels: tuple[int, ...],
        attention: bool = False,
        heads: int = 4,
        sketch: bool = False,
    ) -> None:
        super().__init__()
        if patches.space.varies not in (None, 1):
            raise ConfigError("channels: of a U-Net's grid the first side alone may vary; another does in this field")
        self.condition = FlowCondition(width, hidden_size, levels)
        cells = (
            tuple(side for side in patches.cells if side > 1) or patches.cells[:1]
        )  # nothing to convolve along one place
        self.varies = patches.space.variable and patches.cells[0] > 1
        own = width if attention else None
        self.unet = UNet(
            patches.features,
            cells,
            hidden_size,
            channels,
            blocks=1,
            context_width=own,
            heads=heads,
            sketch=sketch and not self.varies,
        )

    def forward(self, x: Tensor, mask: Tensor, time: Tensor, context: Context, level: Tensor | None = None) -> Tensor:
        """Tokens (B, N, F) with mask (B, N), times (B,), a context of B / k rows and levels (B,) -> (B, N, F)."""
        vector = F.silu(self.condition(time, context.pooled, level))
        return self.unet(x, vector, mask if self.varies else None, context.tokens, context.mask)


class SetBackbone(nn.Module):
    """A set, read by latent vectors that are processed and written back; it follows the order of its members.

    The cost of a member does not depend on how many there are, so that a flow may learn from a part of them.

    Args:
        patches: Of the values, one of each member.
        width: W.
        hidden_size: Width inside.
        levels: Lengths of steps that are known, beside the velocity itself; 0 for none.
        depth: Blocks.
        heads: Attention heads.
        latents: Vectors that read the set.
    """

    def __init__(
        self, patches: Patches, width: int, hidden_size: int, levels: int, *, depth: int, heads: int, latents: int
    ) -> None:
        super().__init__()
        self.condition = FlowCondition(width, hidden_size, levels)
        self.embedding = MemberEmbedding(patches.features, hidden_size)
        self.latents = nn.Parameter(torch.randn(1, latents, hidden_size) * 0.5)
        self.blocks = nn.ModuleList(SetBlock(hidden_size, heads, width) for _ in range(depth))
        self.norm = layer_norm(hidden_size)
        self.proj_out = nn.Linear(hidden_size, patches.features)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor, mask: Tensor, time: Tensor, context: Context, level: Tensor | None = None) -> Tensor:
        """Members (B, N, F), any N, with mask (B, N), times (B,), a context of B / k rows, levels (B,) -> (B, N, F)."""
        members, latents = self.embedding(x), self.latents.expand(len(x), -1, -1)
        condition = self.condition(time, context.pooled, level)
        for block in self.blocks:
            members, latents = block(members, latents, condition, context.tokens, context.mask)
        return self.proj_out(self.norm(members))


BACKBONES: dict[str, type[TransformerBackbone] | type[UNetBackbone] | type[SetBackbone]] = {
    "set": SetBackbone,
    "transformer": TransformerBackbone,
    "unet": UNetBackbone,
}
