"""Fields as the nodes of a graph, which tell one another what they know along its edges."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.fusion.base import Fusion
from polymodal.nn.layers import Linear, layer_norm
from polymodal.types import Context, Tokens


class GraphLayer(nn.Module):
    """Every node takes up messages from all real nodes, weighed by attention that knows both ends.

    Source: Brody, Alon and Yahav, "How attentive are graph attention networks?" (GATv2), 2022, equation 7.

    Args:
        width: D, of a node.
        heads: H attention heads; divides ``width``.

    Raises:
        ConfigError: It does not.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ConfigError(f"heads: {heads} does not divide the width {width}")
        self.heads = heads
        self.norm = layer_norm(width)
        self.source, self.target = Linear(width, width), Linear(width, width)
        self.score = nn.Parameter(torch.randn(heads, width // heads) / (width // heads) ** 0.5)
        self.out = Linear(width, width)

    def forward(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """Nodes (B, N, D) with mask (B, N) -> (B, N, D)."""
        rows, count, width = nodes.shape
        h = self.norm(nodes)
        source, target = (side(h).view(rows, count, self.heads, -1) for side in (self.source, self.target))
        edges = F.leaky_relu(source[:, None] + target[:, :, None], 0.2)  # (B, to, from, H, D / H)
        logits = (edges * self.score).sum(-1).masked_fill(~mask[:, None, :, None], -torch.inf)
        messages = torch.einsum("btfh,bfhd->bthd", logits.softmax(2), source)
        return nodes + self.out(messages.reshape(rows, count, width))


class GraphFusion(Fusion):
    """A node for each visible field and one for the row as a whole, joined each to each.

    Source: graph attention between modalities as in Mai et al., "Modality to modality translation: an adversarial
    representation learning and graph fusion network for multimodal fusion", 2020.

    Args:
        fields: Names, in order.
        width: Width of the tokens.
        depth: Layers of messages.
        heads: Attention heads.
    """

    keeps = "fields"

    def __init__(self, fields: Sequence[str], width: int, *, depth: NonNegativeInt = 2, heads: PositiveInt = 4):
        super().__init__()
        self.fields = tuple(fields)
        self.hub = nn.Parameter(torch.randn(1, width) * 0.02)
        self.proj_in = nn.ModuleDict({name: Linear(width, width, bias=True) for name in fields})
        self.layers = nn.ModuleList(GraphLayer(width, heads) for _ in range(depth))

    def forward(
        self, tokens: Mapping[str, Tokens], rows: int, device: torch.device, keys: Tensor | None = None
    ) -> Context:
        nodes, masks = [self.hub.expand(rows, -1)], [torch.ones(rows, dtype=torch.bool, device=device)]
        for name in self.fields:
            if name in tokens:
                nodes.append(self.proj_in[name](tokens[name].mean))
                masks.append(tokens[name].seen)
        x, mask = torch.stack(nodes, dim=1), torch.stack(masks, dim=1)
        for layer in self.layers:
            x = layer(x, mask)
        x = x * mask[..., None]
        return Context(x, mask, x[:, 0] + x.sum(1) / mask.sum(1, keepdim=True))
