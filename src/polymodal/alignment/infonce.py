"""Contrastive alignment: a row's fields are told from those of the other rows."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.alignment.base import Alignment
from polymodal.types import Losses


class InfoNCE(Alignment):
    """Symmetric cross-entropy over the rows of the batch, of all processes, with a learned temperature.

    It gives the encoders a strong signal from the first step, long before the heads know what to ask of them.

    Source: van den Oord et al., "Representation learning with contrastive predictive coding", 2018; symmetric and with
    a learned temperature: Radford et al. (CLIP), 2021.

    Args:
        fields: Names, in order.
        width: Of the encodings.
        size: Of the common space.
        weight: Of the loss.
        temperature: At the start.
    """

    def __init__(
        self, fields: Sequence[str], width: int, *, size: int = 128, weight: float = 0.5, temperature: float = 0.1
    ):
        super().__init__()
        self.weight = weight
        self.projections = nn.ModuleDict({name: nn.Linear(width, size, bias=False) for name in fields})
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    def forward(self, encodings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Losses:
        names = [name for name in self.projections if name in encodings]
        codes = {name: self._code(name, encodings[name], present[name]) for name in names}
        scale = self.log_scale.clamp(max=math.log(100)).exp()
        total = next(iter(encodings.values())).new_zeros(len(next(iter(encodings.values()))))
        pairs = list(combinations(names, 2))
        for one, other in pairs:
            both = present[one] & present[other]
            everywhere, offset = _gathered(both[:, None])
            own = torch.arange(len(both), device=both.device) + offset
            for here, there in ((one, other), (other, one)):
                logits = scale * codes[here] @ _gathered(codes[there])[0].T
                logits = logits.masked_fill(~everywhere[:, 0], torch.finfo(logits.dtype).min)
                loss = functional.cross_entropy(logits, own, reduction="none")
                total = total + torch.where(both, loss, 0) / (2 * len(pairs))
        return {"infonce": self.weight * total}

    def _code(self, name: str, encoding: Tensor, present: Tensor) -> Tensor:
        """Unit vectors (B, size) of encodings that are standardised over the present rows of all processes.

        What all rows have in common is most of an encoding at first, and would hide what tells them apart. Source: the
        normalised projection heads of SimCLR (Chen et al. 2020).
        """
        everyone, there = _gathered(encoding)[0], _gathered(present[:, None])[0].to(encoding.dtype)
        count = there.sum().clamp(min=1)
        mean = (everyone * there).sum(0) / count
        variance = ((everyone - mean).square() * there).sum(0) / count
        return functional.normalize(self.projections[name]((encoding - mean) * (variance + 1e-5).rsqrt()), dim=1)


def _gathered(x: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, through which gradients flow, and where this process's begin."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x, 0
    from torch.distributed.nn.functional import all_gather

    rank = torch.distributed.get_rank()
    return torch.cat(all_gather(x.to(torch.float32))).to(x.dtype), rank * len(x)
