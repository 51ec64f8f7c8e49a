"""What every alignment is: encodings of the fields of rows -> a loss per row."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, distributed, nn

from polymodal.arguments import check_constructor
from polymodal.types import Losses


class Alignment(nn.Module, ABC):
    """Pulls together what the encoders make of the fields of one row.

    A constructor takes ``(fields, width)`` by position and its configuration as keyword-only arguments.

    Attributes:
        searchable: A row's fields come to lie nearer one another than those of other rows, so that one finds another.
        project: Encodings -> the common space.
    """

    searchable: ClassVar[bool] = False
    project: "Projections"

    __init_subclass__ = check_constructor

    @abstractmethod
    def forward(self, encodings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Losses:
        """Loss terms (B,), zero for rows that lack the fields.

        Args:
            encodings: By field, (B, D): the mean of its tokens.
            present: By field, (B,) on the same device.
        """


class Projections(nn.Module):
    """Standardised encodings -> a common space, by a matrix for each field.

    What all rows have in common is most of an encoding at first, and would hide what tells them apart: mean and
    deviation over the present rows of all processes are taken out. Source: the normalised projection heads of SimCLR
    (Chen et al. 2020).

    Args:
        fields: Names, in order.
        width: Of the encodings.
        size: Of the common space.
    """

    def __init__(self, fields: Sequence[str], width: int, size: int):
        super().__init__()
        self.matrices = nn.ModuleDict({name: nn.Linear(width, size, bias=False) for name in fields})

    def forward(self, encodings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By field, in the constructor's order, (B, size)."""
        codes = {}
        for name in self.matrices:
            if name in encodings:
                everyone = gathered(encodings[name])[0]
                there = gathered(present[name][:, None])[0].to(everyone.dtype)
                count = there.sum().clamp(min=1)
                mean = (everyone * there).sum(0) / count
                variance = ((everyone - mean).square() * there).sum(0) / count
                codes[name] = self.code(name, encodings[name], mean, variance)
        return codes

    def code(self, name: str, encodings: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Encodings (B, D) of one field -> (B, size), by a mean and a variance (D,) that are known."""
        return self.matrices[name]((encodings - mean) * (variance + 1e-5).rsqrt())


def gathered(x: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, through which gradients flow, and where this process's begin.

    Without gradients they are this process's own: validation runs in the first process alone, and would wait for ever.
    """
    if not (torch.is_grad_enabled() and distributed.is_available() and distributed.is_initialized()):
        return x, 0
    return _Gather.apply(x.to(torch.float32)).to(x.dtype), distributed.get_rank() * len(x)


class _Gather(torch.autograd.Function):
    """Rows (B, ...) of each process -> those of all; the gradients that all processes have for them add up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.contiguous(), group=_group(distributed.group.WORLD))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient, group=_group(distributed.group.WORLD))
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]


@functools.cache
def _group(world: Any) -> Any:
    """Apart from the group in which gradients are averaged: which of the two is first may differ between processes."""
    return distributed.new_group()
