"""Grids padded to whole patches, cut into patches of one token each, and put together again."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from polymodal.errors import ConfigError
from polymodal.nn.random import normal
from polymodal.types import Space, spread_mask


class Patches:
    """How the values of a space become tokens, one of each patch, row by row.

    Sides that hold no whole number of patches are padded with zeros, and cut off again on the way back. A patch is made
    as small as the number of patches along a side allows, so that one that is larger than the grid becomes the grid.

    Args:
        space: Continuous, of any number of dimensions, of which any axis may vary.
        patch: Side of a patch along each axis, or one for all; None for the smallest that ``compression`` finds to give
            at most ``most`` tokens.
        most: Tokens.

    Attributes:
        patch: Side of a patch along each axis.
        cells: Patches along each axis, of a value at its longest.
        features: F, the numbers of one patch.

    Raises:
        ConfigError: There are not as many sides as axes.
    """

    def __init__(self, space: Space, patch: int | Sequence[int] | None = None, most: int = 1024) -> None:
        grid = space.grid
        patch = compression(grid, most) if patch is None else patch
        sides = (patch,) if isinstance(patch, int) else tuple(patch)
        sides = sides * len(grid) if len(sides) == 1 else sides
        if len(sides) != len(grid):
            raise ConfigError(f"patch: {len(sides)} sides for a grid of {len(grid)} axes; give one for each, or one")
        self.space, self.axis = space, None if space.varies is None else space.varies - 1
        self.cells = tuple(-(-length // side) for length, side in zip(grid, sides, strict=True))
        self.patch = tuple(
            side if axis == self.axis and count > 1 else -(-length // count)
            for axis, (length, side, count) in enumerate(zip(grid, sides, self.cells, strict=True))
        )
        self.features = space.channels * math.prod(self.patch)

    @property
    def argument(self) -> int | tuple[int, ...]:
        """``patch`` as a recipe would say it: one number where all sides are equal."""
        return one_or_each(self.patch)

    @property
    def canvas(self) -> tuple[int, ...]:
        """The grid, padded to whole patches."""
        return tuple(side * count for side, count in zip(self.patch, self.cells, strict=True))

    @property
    def frame(self) -> int:
        """Tokens of one step along the first axis.

        Raises:
            ConfigError: The grid has fewer than three axes.
        """
        if len(self.cells) < 3:
            raise ConfigError(
                f"factorised: is for grids of three axes, the first of them time; this has {len(self.cells)}"
            )
        return math.prod(self.cells[1:])

    def shape(self, tokens: int) -> tuple[int, ...]:
        """Patches along each axis of values that have so many tokens, whose varying axis may be shorter."""
        if self.axis is None:
            return self.cells
        others = math.prod(self.cells) // self.cells[self.axis]
        return (*self.cells[: self.axis], tokens // others, *self.cells[self.axis + 1 :])

    def cut(self, value: Tensor) -> Tensor:
        """(B, C, *grid), whose varying axis may be shorter than the space's -> tokens (B, N, F)."""
        batch, channels, *grid = value.shape
        cells = [-(-length // side) for length, side in zip(grid, self.patch, strict=True)]
        missing = [count * side - length for count, side, length in zip(cells, self.patch, grid, strict=True)]
        if any(missing):
            value = pad(value, [number for after in reversed(missing) for number in (0, after)])
        split = [number for pair in zip(cells, self.patch, strict=True) for number in pair]
        dims = len(grid)
        order = [0, *range(2, 2 + 2 * dims, 2), 1, *range(3, 3 + 2 * dims, 2)]
        return value.reshape(batch, channels, *split).permute(order).reshape(batch, -1, self.features)

    def join(self, tokens: Tensor, length: int | None = None) -> Tensor:
        """The inverse of ``cut``: (B, N, F) -> (B, C, *grid), of so many positions where an axis varies."""
        cells, dims = self.shape(tokens.shape[1]), len(self.cells)
        value = tokens.reshape(len(tokens), *cells, self.space.channels, *self.patch)
        order = [0, dims + 1, *(axis for d in range(dims) for axis in (1 + d, dims + 2 + d))]
        canvas = [count * side for count, side in zip(cells, self.patch, strict=True)]
        value = value.permute(order).reshape(len(tokens), self.space.channels, *canvas)
        sides = [length if d == self.axis and length else side for d, side in enumerate(self.space.grid)]
        return crop(value, sides)

    def mask(self, mask: Tensor) -> Tensor:
        """Mask (B, L) of the varying axis -> mask (B, N) of the tokens, each real if any of its positions is."""
        if self.axis is None:
            return mask[:, :1].expand(-1, math.prod(self.cells))
        columns = pool_mask(mask, self.patch[self.axis])
        others = math.prod(self.cells) // self.cells[self.axis]
        shape = self.shape(columns.shape[1] * others)
        return spread_mask(columns, 1 + len(shape), self.axis).expand(-1, *shape).reshape(len(mask), -1)

    def trim(self, x: Tensor, tokens: int) -> Tensor:
        """From (B, N, D), an entry for each token of values at their longest, those of values that have ``tokens``."""
        if x.shape[1] == tokens:
            return x
        return crop(x.movedim(1, 2).unflatten(2, self.cells), self.shape(tokens)).flatten(2).movedim(2, 1).contiguous()

    def places(self, tokens: Tensor) -> Tensor | None:
        """(N,) where along the axis that varies each of tokens (B, N, D) is, as of ``Tokens``; None if none varies."""
        if self.axis is None:
            return None
        cells = self.shape(tokens.shape[1])
        longest = self.space.grid[self.axis] / self.patch[self.axis]
        along = places_of(cells[self.axis], longest, tokens)
        shape = [1] * len(cells)
        shape[self.axis] = -1
        return along.view(shape).expand(cells).flatten()

    def noise(self, keys: Tensor, tokens: int) -> Tensor:
        """Standard normal (B, tokens, F), drawn along the varying axis first, so that padding changes nothing."""
        cells = list(self.shape(tokens))
        first = [cells.pop(self.axis)] if self.axis else []
        drawn = normal(keys, (*first, *cells, self.features))
        return (drawn.movedim(1, 1 + self.axis) if self.axis else drawn).reshape(len(keys), tokens, self.features)


def places_of(count: int, longest: float, like: Tensor) -> Tensor:
    """(count,) the middles of equal parts, of which the longest value has so many, as shares of its length."""
    return (torch.arange(count, device=like.device, dtype=torch.float32) + 0.5) / longest


def halvings(grid: Sequence[int], places: int) -> int:
    """How often all sides must be halved, rounded up, until the grid has at most so many places."""
    number = 0
    while math.prod(-(-side // 2**number) for side in grid) > places:
        number += 1
    return number


def compression(grid: Sequence[int], places: int) -> tuple[int, ...]:
    """By how much each side is divided, a power of two, so that at most so many places are left.

    The longest sides are halved first, so that a clip of few frames keeps them while its pictures shrink, and a square
    stays one.
    """
    sides = [1] * len(grid)
    while math.prod(cells := [-(-length // side) for length, side in zip(grid, sides, strict=True)]) > places:
        sides = [2 * side if count == max(cells) else side for side, count in zip(sides, cells, strict=True)]
    return tuple(sides)


def one_or_each(sides: Sequence[int]) -> int | tuple[int, ...]:
    """Sides as a recipe says them: one number where all are equal."""
    return tuple(sides) if len(set(sides)) > 1 else next(iter(sides), 1)


def crop(value: Tensor, grid: Sequence[int]) -> Tensor:
    """The first places of the last axes of a value (..., *larger grid); as it is where nothing is to be cut off."""
    for axis, side in enumerate(grid, value.dim() - len(grid)):
        if value.shape[axis] > side:
            value = value.narrow(axis, 0, side)
    return value


def pad_to_multiple(value: Tensor, multiple: int | Sequence[int], axes: int = 1) -> Tensor:
    """Zeros appended to each of the last ``axes`` axes until its length is a multiple of ``multiple``, at least one."""
    multiples = (multiple,) * axes if isinstance(multiple, int) else multiple
    missing = [
        max(whole, -(-side // whole) * whole) - side for side, whole in zip(value.shape[-axes:], multiples, strict=True)
    ]
    return pad(value, [number for after in reversed(missing) for number in (0, after)]) if any(missing) else value


def pool_mask(mask: Tensor, factor: int) -> Tensor:
    """(B, L) -> (B, ceil(L / factor)): a patch is real if any of its positions is."""
    padded = pad_to_multiple(mask, factor)
    return padded.view(len(mask), -1, factor).any(-1)
