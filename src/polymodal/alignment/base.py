"""What every alignment is: encodings of the fields of rows -> a loss per row."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, distributed, nn

from polymodal.arguments import check_constructor
from polymodal.types import Losses

FLOOR, TINY = 1e-5, 1e-12
"""Variance that is added to that of a dimension: a share of the mean one, and what no encoding is likely to have."""


class Alignment(nn.Module, ABC):
    """Pulls the encodings of the fields of one row together.

    A constructor takes ``(fields, width)`` by position and its configuration as keyword-only arguments.

    Attributes:
        searchable: Whether the fields of a row come to lie nearer to one another than to those of other rows, so that
            one can be searched by another.
        project: Encodings -> the common space.
    """

    searchable: ClassVar[bool] = False
    project: "Projections"

    __init_subclass__ = check_constructor

    @abstractmethod
    def forward(
        self,
        encodings: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        contents: Mapping[str, Tensor] | None = None,
    ) -> Losses:
        """Loss terms (B,), zero for rows that lack the fields.

        Args:
            encodings: By field, (B, D): the mean of its tokens.
            present: By field, (B,) on the same device.
            contents: By field, (B, n) numbers that are equal where the values of two rows are: such rows are no
                negatives of one another. All rows differ where it is not given.
        """


class Projections(nn.Module):
    """Standardised encodings -> a common space, by a matrix for each field.

    At first most of an encoding is common to all rows, and would hide the differences between them. So each is
    standardised by the mean and deviation over the present rows of all processes. Source: the normalised projection
    heads of SimCLR (Chen et al. 2020).

    Args:
        fields: Names, in order.
        width: Width of the encodings.
        size: Size of the common space.
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
                weight = gathered(present[name][:, None])[0].to(everyone.dtype)
                count = weight.sum().clamp(min=1)
                mean = (everyone * weight).sum(0) / count
                variance = ((everyone - mean).square() * weight).sum(0) / count
                codes[name] = self.code(name, encodings[name], mean, variance)
        return codes

    def code(self, name: str, encodings: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Encodings (B, D) of one field -> (B, size), standardised by a mean and a variance (D,).

        What hardly varies beside the other dimensions stays small, in whatever unit the encodings are.
        """
        return self.matrices[name]((encodings - mean) * (variance + FLOOR * variance.mean() + TINY).rsqrt())


def gathered(x: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, through which gradients flow, and the index of this process's first row.

    Without gradients they are this process's rows only: validation runs in the first process alone, and would wait for
    the others for ever.
    """
    if not (torch.is_grad_enabled() and distributed.is_available() and distributed.is_initialized()):
        return x, 0
    return _Gather.apply(x.to(torch.float32)).to(x.dtype), distributed.get_rank() * len(x)


def twins(contents: Mapping[str, Tensor] | None, names: Sequence[str], match: Tensor) -> Tensor | None:
    """(B, rows of all processes) whether another row has the same value of either field, so that it is as right.

    Args:
        contents: See ``Alignment.forward``.
        names: Names of the fields.
        match: (B,) the place of each row among those of all processes.
    """
    if contents is None:
        return None
    same = [(contents[name][:, None] == gathered(contents[name])[0]).all(2) for name in names]
    return torch.stack(same).any(0).scatter(1, match[:, None], value=False)


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
