"""The vocabulary that all layers share: spaces, fields, tokens, contexts, tasks.

Shapes: B rows of a batch, L positions along the axis whose length varies, N tokens, D width.
Every mask says True where something is real.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

Losses = dict[str, Tensor]
"""Loss terms by name, each of shape (B,): one number per row. Only ``Model.loss`` averages."""


@dataclass(frozen=True)
class Space:
    """The tensors that a head models, an encoder reads or a codec maps.

    Attributes:
        kind: ``continuous`` values of shape (channels, *grid), about unit scale; or ``discrete``
            ids of shape (length,) in ``[0, vocab)``.
        shape: Shape of one row's value, at its longest.
        vocab: Number of ids of a discrete space, 0 for a continuous one.
        variable: The last axis is a length that varies from row to row, at most ``shape[-1]``.
        bounds: Least and greatest number of a continuous space that has them, as a picture has.
    """

    kind: Literal["continuous", "discrete"]
    shape: tuple[int, ...]
    vocab: int = 0
    variable: bool = False
    bounds: tuple[float, float] | None = None

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def grid(self) -> tuple[int, ...]:
        return self.shape[1:] if self.kind == "continuous" else self.shape

    @property
    def max_length(self) -> int:
        """Positions along the axis that varies; 1 where no axis varies."""
        return self.shape[-1] if self.variable else 1


@dataclass
class Field:
    """One field of a batch.

    Attributes:
        value: (B, *shape), the last axis trimmed to the batch's longest row if it varies. Zeros where absent.
        mask: (B, L) real positions of the axis that varies; (B, 1) where no axis varies.
        present: (B,) whether the row has this field.
    """

    value: Tensor
    mask: Tensor
    present: Tensor

    def __len__(self) -> int:
        return len(self.value)

    def rows(self, index: Tensor) -> Field:
        """The rows at ``index`` (n,)."""
        return Field(self.value[index], self.mask[index], self.present[index])

    def to(self, device: torch.device | str) -> Field:
        return Field(*(t.to(device, non_blocking=True) for t in (self.value, self.mask, self.present)))

    @property
    def lengths(self) -> Tensor:
        """(B,) number of real positions."""
        return self.mask.sum(1)


Batch = dict[str, Field]


@dataclass
class Tokens:
    """Tokens of one field. ``x`` (B, N, D); ``mask`` (B, N), True = real."""

    x: Tensor
    mask: Tensor

    @property
    def mean(self) -> Tensor:
        """(B, D) mean of each row's real tokens, zero where it has none."""
        weight = self.mask.to(self.x.dtype)[..., None]
        return (self.x * weight).sum(1) / weight.sum(1).clamp(min=1)

    @property
    def seen(self) -> Tensor:
        """(B,) whether a row has any real token."""
        return self.mask.any(1)


@dataclass
class Context:
    """What a head is told of the visible fields.

    Attributes:
        tokens: (B, N, D).
        mask: (B, N), True = real; every row has at least one real token.
        pooled: (B, D), a summary of the row.
        losses: Terms of the fusion's own, per row (a joint latent's KL, an alignment loss).
        nothing: In training, the context of one row in which nothing is visible, for heads that learn guided samples.
        latent: (B, Z), the draw of a joint latent that all of it was made from, where the fusion has one.
        private: By field, (B, D), what the head of that field alone is told.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    losses: Losses = field(default_factory=dict)
    nothing: Context | None = None
    latent: Tensor | None = None
    private: dict[str, Tensor] = field(default_factory=dict)

    def of(self, name: str) -> Context:
        """What the head of one field is told: what all are, and its private part, if it has one."""
        if name not in self.private:
            return self
        own = self.private[name]
        tokens, mask = torch.cat([self.tokens, own[:, None]], dim=1), pad(self.mask, (0, 1), value=True)
        nothing = self.nothing and self.nothing.of(name)
        return replace(self, tokens=tokens, mask=mask, pooled=self.pooled + own, nothing=nothing, private={})

    def rows(self, index: Tensor) -> Context:
        """The rows at ``index`` (n,); rows may repeat."""
        losses = {name: term[index] for name, term in self.losses.items()}
        latent = None if self.latent is None else self.latent[index]
        private = {name: part[index] for name, part in self.private.items()}
        return Context(self.tokens[index], self.mask[index], self.pooled[index], losses, self.nothing, latent, private)

    def beside(self, other: Context) -> Context:
        """These rows followed by those of ``other``, the shorter one's tokens padded; guidance runs both at once."""
        longest = max(self.tokens.shape[1], other.tokens.shape[1])
        tokens = [pad(c.tokens, (0, 0, 0, longest - c.tokens.shape[1])) for c in (self, other)]
        masks = [pad(c.mask, (0, longest - c.mask.shape[1])) for c in (self, other)]
        return Context(torch.cat(tokens), torch.cat(masks), torch.cat([self.pooled, other.pooled]))


@dataclass(frozen=True)
class Task:
    """Which fields of each row are given, and which are to be generated.

    Both mappings hold one (B,) boolean CPU tensor per field. They stay on the CPU, where they were drawn, so
    that choosing rows never waits for an accelerator.
    """

    visible: Mapping[str, Tensor]
    target: Mapping[str, Tensor]
