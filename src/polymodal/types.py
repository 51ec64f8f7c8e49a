"""The vocabulary that all layers share: spaces, fields, tokens, contexts, tasks.

Shapes: B rows of a batch, L positions along the axis whose length varies, N tokens, D width.
Every mask says True where something is real.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

MOST_NUMBERS = 1 << 30
"""Of one value; what claims more is a mistake, and would fill the memory."""

Losses = dict[str, Tensor]
"""Loss terms by name, each of shape (B,): one number per row. Only the model weighs and averages them."""


@dataclass(frozen=True)
class Space:
    """The tensors that a head models, an encoder reads or a codec maps.

    Attributes:
        kind: ``continuous`` values of shape (channels, *grid), about unit scale; or ``discrete``
            ids of shape (length,) in ``[0, vocab)``.
        shape: Shape of one row's value, at its longest.
        vocab: Number of ids of a discrete space, 0 for a continuous one.
        varies: The axis of ``shape`` whose length differs from row to row, at most ``shape[varies]``: 0 for text, the
            last for sound, the first of the grid for video; None if all values have one shape.
        bounds: Least and greatest number of a continuous space that has them, as a picture has.
        is_set: Whether the positions of the grid, of one axis, have no order: points of a shape. What reads or models
            such a space must not know the place of a position.
    """

    kind: Literal["continuous", "discrete"]
    shape: tuple[int, ...]
    vocab: int = 0
    varies: int | None = None
    bounds: tuple[float, float] | None = None
    is_set: bool = False

    def __post_init__(self) -> None:
        first = 0 if self.kind == "discrete" else 1  # channels are as many in every row
        if self.varies is not None and not first <= self.varies < len(self.shape):
            raise ValueError(f"varies: {self.varies} is no axis of the grid of {self.shape}")
        if prod(self.shape) > MOST_NUMBERS:
            raise ValueError(
                f"a value of shape {self.shape} has {prod(self.shape):,} numbers; at most {MOST_NUMBERS:,}"
            )

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def grid(self) -> tuple[int, ...]:
        return self.shape[1:] if self.kind == "continuous" else self.shape

    @property
    def variable(self) -> bool:
        """Whether an axis varies."""
        return self.varies is not None

    @property
    def varies_last(self) -> bool:
        """Whether the axis that varies, if any, is the last one."""
        return self.varies in (None, len(self.shape) - 1)

    @property
    def max_length(self) -> int:
        """Positions along the axis that varies; 1 where no axis varies."""
        return 1 if self.varies is None else self.shape[self.varies]

    @property
    def rest(self) -> tuple[int, ...]:
        """``shape`` without the axis that varies."""
        return tuple(side for axis, side in enumerate(self.shape) if axis != self.varies)


@dataclass
class Field:
    """One field of a batch.

    Attributes:
        value: (B, *shape), the axis that varies trimmed to the batch's longest row. Zeros where absent.
        mask: (B, L) real positions of the axis that varies; (B, 1) where no axis varies.
        present: (B,) whether the row has this field.
        varies: The axis of a row's value that varies, as of its ``Space``.
    """

    value: Tensor
    mask: Tensor
    present: Tensor
    varies: int | None = None

    def __post_init__(self) -> None:
        length = 1 if self.varies is None else self.value.shape[1 + self.varies]
        if self.mask.shape[1] != length:
            raise ValueError(
                f"a mask of {self.mask.shape[1]} positions for values {tuple(self.value.shape)} of which "
                f"{'no axis' if self.varies is None else f'axis {self.varies} of a row'} varies"
            )

    @classmethod
    def absent(cls, space: Space, rows: int, device: torch.device | str = "cpu") -> Field:
        """Rows that lack the field, of length 1."""
        shape = [1 if axis == space.varies else side for axis, side in enumerate(space.shape)]
        dtype = torch.float32 if space.kind == "continuous" else torch.int64
        mask = torch.zeros(rows, 1, dtype=torch.bool, device=device)
        return cls(torch.zeros(rows, *shape, dtype=dtype, device=device), mask, mask[:, 0], space.varies)

    @classmethod
    def blank(cls, space: Space, device: torch.device | str = "cpu") -> Field:
        """One row that every part of a space takes: zeros, of length 1; ids of any number are the id that ends them."""
        ends = space.kind == "discrete" and space.variable
        return cls.full(cls.absent(space, 1, device).value + int(ends), varies=space.varies)

    @classmethod
    def full(cls, value: Tensor, mask: Tensor | None = None, varies: int | None = None) -> Field:
        """Values that every row has; all of them real where no mask is given."""
        if mask is None:
            mask = value.new_ones(len(value), 1 if varies is None else value.shape[1 + varies], dtype=torch.bool)
        return cls(value, mask, torch.ones_like(mask[:, 0]), varies)

    @classmethod
    def stack(cls, fields: Sequence[Field]) -> Field:
        """The rows of one field after those of another, the shorter ones padded."""
        longest = max(field.mask.shape[1] for field in fields)
        padded = [field.pad(longest) for field in fields]
        value, mask, present = (
            torch.cat([getattr(field, name) for field in padded]) for name in ("value", "mask", "present")
        )
        return cls(value, mask, present, fields[0].varies)

    def __len__(self) -> int:
        return len(self.value)

    def pick(self, index: Tensor) -> Field:
        """The rows at ``index`` (n,); rows may repeat."""
        return replace(self, value=self.value[index], mask=self.mask[index], present=self.present[index])

    def scatter(self, index: Tensor, rows: int) -> Field:
        """These rows at places ``index`` (B,) of ``rows`` rows, of which the others are absent."""

        def place(t: Tensor) -> Tensor:
            return t.new_zeros(rows, *t.shape[1:]).index_copy(0, index, t)

        return replace(self, value=place(self.value), mask=place(self.mask), present=place(self.present))

    def overlay(self, other: Field) -> Field:
        """These rows, those of which ``other`` (B rows) has replaced by its own."""
        longest = max(self.mask.shape[1], other.mask.shape[1])
        below, above, index = self.pad(longest), other.pad(longest), other.present.nonzero()[:, 0]
        return replace(
            self,
            value=below.value.index_copy(0, index, above.value[index].to(below.value.dtype)),
            mask=below.mask.index_copy(0, index, above.mask[index]),
            present=below.present.index_copy(0, index, above.present[index]),
        )

    def pad(self, length: int) -> Field:
        """The axis that varies as long as ``length``, by zeros at its end; as it is where no axis varies."""
        missing = length - self.mask.shape[1]
        if self.varies is None or not missing:
            return self
        after = 2 * (self.value.dim() - 2 - self.varies)  # numbers that ``pad`` takes of the axes behind it
        return replace(self, value=pad(self.value, (0,) * (after + 1) + (missing,)), mask=pad(self.mask, (0, missing)))

    def trim(self, length: int) -> Field:
        """The axis that varies at most as long as ``length``; as it is where no axis varies."""
        if self.varies is None or length >= self.mask.shape[1]:
            return self
        return replace(self, value=self.value.narrow(1 + self.varies, 0, length), mask=self.mask[:, :length])

    def with_value(self, value: Tensor) -> Field:
        """Other values of the same rows and lengths, zero where these are not real."""
        made = replace(self, value=value)
        return replace(made, value=made.value * made.real)

    def values(self) -> list[Tensor]:
        """The value of each row, cut to its own length."""
        if self.varies is None:
            return list(self.value)
        lengths = self.lengths.tolist()
        return [row.narrow(self.varies, 0, length) for row, length in zip(self.value, lengths, strict=True)]

    def to(self, device: torch.device | str) -> Field:
        value, mask, present = (t.to(device, non_blocking=True) for t in (self.value, self.mask, self.present))
        return Field(value, mask, present, self.varies)

    @property
    def lengths(self) -> Tensor:
        """(B,) number of real positions."""
        return self.mask.sum(1)

    @property
    def real(self) -> Tensor:
        """The mask with as many axes as ``value``, to be multiplied with it."""
        return spread_mask(self.mask, self.value.dim(), self.varies)


def spread_mask(mask: Tensor, dims: int, varies: int | None) -> Tensor:
    """A mask (B, L) of the axis that varies -> of ``dims`` axes, all but the first and that one of length 1."""
    shape = [1] * (dims - 1)
    if varies is not None:
        shape[varies] = mask.shape[1]
    return mask.reshape(len(mask), *shape)


Batch = dict[str, Field]


@dataclass
class Tokens:
    """Tokens of one field.

    Attributes:
        x: (B, N, D).
        mask: (B, N), True = real.
        places: (N,) where along the axis that varies each of them is, from 0 to 1 at the end of the longest value; None
            where no axis does, or nobody is told.
        ordered: Whether they are in an order of which no times are known, as the pieces of a text.
    """

    x: Tensor
    mask: Tensor
    places: Tensor | None = None
    ordered: bool = False

    @property
    def places_in_row(self) -> Tensor | None:
        """(B, N, 2) the places of each row's tokens, and of ``ordered`` ones the share of the row that lies before the
        token's middle; negative where there is none, as for a single token, and None where no token has any.
        """
        if self.places is None and not self.ordered:
            return None
        there = torch.arange(self.x.shape[1], device=self.x.device, dtype=torch.float32)
        both = torch.full((*self.mask.shape, 2), -1.0, device=self.x.device)
        if self.places is not None:
            both[..., 0] = self.places
        if self.ordered:
            count = self.mask.sum(1, keepdim=True)
            both[..., 1] = torch.where(count > 1, (there + 0.5) / count.clamp(min=1), -1.0)
        return both

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
        places: (B, N, 2), where the tokens are in time and in order, as ``Tokens.places_in_row`` tells it; None if no
            token has a place.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    losses: Losses = field(default_factory=dict)
    nothing: Context | None = None
    latent: Tensor | None = None
    private: dict[str, Tensor] = field(default_factory=dict)
    places: Tensor | None = None

    def of(self, name: str) -> Context:
        """What the head of one field is told: what all are, and its private part, if it has one."""
        if name not in self.private:
            return self
        own = self.private[name]
        tokens, mask = torch.cat([self.tokens, own[:, None]], dim=1), pad(self.mask, (0, 1), value=True)
        places = None if self.places is None else pad(self.places, (0, 0, 0, 1), value=-1.0)
        others = replace(self, nothing=self.nothing and self.nothing.of(name), private={}, places=places)
        return replace(others, tokens=tokens, mask=mask, pooled=self.pooled + own)

    def pick(self, index: Tensor) -> Context:
        """The rows at ``index`` (n,); rows may repeat."""
        losses = {name: term[index] for name, term in self.losses.items()}
        latent = None if self.latent is None else self.latent[index]
        private = {name: part[index] for name, part in self.private.items()}
        places = None if self.places is None else self.places[index]
        rows = self.tokens[index], self.mask[index], self.pooled[index]
        return Context(*rows, losses, self.nothing, latent, private, places)

    def mixed(self, other: Context, share: Tensor) -> Context:
        """Each row of this context on its way to that of ``other``, by a ``share`` (B,) from 0 to 1, ends exactly.

        Args:
            other: As many rows, of inputs whose tokens are as many.
            share: How much of the other context is in the mixture.
        """

        def mix(one: Tensor, two: Tensor) -> Tensor:
            return torch.lerp(one, two, share.to(one.dtype).view(-1, *[1] * (one.dim() - 1)))

        tokens = mix(self.tokens * self.mask[..., None], other.tokens * other.mask[..., None])
        mask = self.mask & (share < 1)[:, None] | other.mask & (share > 0)[:, None]
        private = {name: mix(part, other.private[name]) for name, part in self.private.items()}
        latent = None if self.latent is None or other.latent is None else mix(self.latent, other.latent)
        return Context(tokens, mask, mix(self.pooled, other.pooled), latent=latent, private=private, places=self.places)

    def beside(self, other: Context) -> Context:
        """These rows followed by those of ``other``, the shorter one's tokens padded; guidance runs both at once."""
        longest = max(self.tokens.shape[1], other.tokens.shape[1])
        tokens = [pad(c.tokens, (0, 0, 0, longest - c.tokens.shape[1])) for c in (self, other)]
        masks = [pad(c.mask, (0, longest - c.mask.shape[1])) for c in (self, other)]
        places = None
        if self.places is not None or other.places is not None:
            known = [
                c.tokens.new_full((*c.mask.shape, 2), -1.0) if c.places is None else c.places for c in (self, other)
            ]
            places = torch.cat([pad(each, (0, 0, 0, longest - each.shape[1]), value=-1.0) for each in known])
        return Context(torch.cat(tokens), torch.cat(masks), torch.cat([self.pooled, other.pooled]), places=places)


@dataclass(frozen=True)
class Task:
    """Which fields of each row are given, and which are to be generated.

    Both mappings hold one (B,) boolean CPU tensor per field. They stay on the CPU, where they were drawn, so
    that choosing rows never waits for an accelerator.
    """

    visible: Mapping[str, Tensor]
    target: Mapping[str, Tensor]


@dataclass(frozen=True)
class Needs:
    """Fields that rows of a whole step need, on whatever process, so that all processes can call the same modules.

    Attributes:
        held: That any row has.
        given: That any row is given.
        wanted: That any row is to be generated.
    """

    held: Collection[str] = ()
    given: Collection[str] = ()
    wanted: Collection[str] = ()
