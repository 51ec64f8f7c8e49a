"""Grids cut into patches and put together again, in one or two dimensions."""

import torch
from torch import Tensor


def to_tokens(value: Tensor, patch: int) -> Tensor:
    """(B, C, *grid) -> (B, N, C * patch ** dims), row-major; every side of the grid is a multiple of ``patch``."""
    batch, channels, *grid = value.shape
    if not grid:
        return value[:, None]
    split = [part for side in grid for part in (side // patch, patch)]
    dims = len(grid)
    order = [0, *range(2, 2 + 2 * dims, 2), 1, *range(3, 3 + 2 * dims, 2)]
    return value.reshape(batch, channels, *split).permute(order).reshape(batch, -1, channels * patch**dims)


def from_tokens(tokens: Tensor, channels: int, grid: tuple[int, ...], patch: int) -> Tensor:
    """The inverse of ``to_tokens``: (B, N, C * patch ** dims) -> (B, C, *grid)."""
    batch = len(tokens)
    if not grid:
        return tokens[:, 0]
    dims = len(grid)
    value = tokens.reshape(batch, *(side // patch for side in grid), channels, *[patch] * dims)
    order = [0, dims + 1, *(axis for d in range(dims) for axis in (1 + d, dims + 2 + d))]
    return value.permute(order).reshape(batch, channels, *grid)


def pad_to_multiple(value: Tensor, multiple: int) -> Tensor:
    """Zeros appended to the last axis until its length is a multiple of ``multiple``, and at least one."""
    missing = max(multiple, -(-value.shape[-1] // multiple) * multiple) - value.shape[-1]
    return torch.nn.functional.pad(value, (0, missing)) if missing else value


def pool_mask(mask: Tensor, factor: int) -> Tensor:
    """(B, L) -> (B, ceil(L / factor)): a patch is real if any of its positions is."""
    padded = pad_to_multiple(mask, factor)
    return padded.view(len(mask), -1, factor).any(-1)
