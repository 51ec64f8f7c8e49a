"""The convolutional autoencoder that codecs of pictures, spectrograms and video share: all but the code itself.

Source: Chen et al., "Deep compression autoencoder for efficient high-resolution diffusion models", 2024 (the residual
down- and upsampling). A linear map of whole patches runs beside the convolutions and starts as their principal
components (Baldi and Hornik 1989: the best linear autoencoder), so that the convolutions learn only what is left; see
docs/adr/0002.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from polymodal.errors import ConfigError
from polymodal.nn.bounds import clamp_to_bounds
from polymodal.nn.conv import (
    ChannelNorm,
    Convolution,
    Downsample,
    Factor,
    ResidualBlock,
    Upsample,
    channels_last,
    convolution,
    factors,
    hide,
    pool_real,
    shuffle,
    unshuffle,
)
from polymodal.nn.patches import compression, crop, one_or_each, pad_to_multiple
from polymodal.types import Field, Losses, Space, spread_mask

_WIDE = 2048
"""Numbers of a place, of which the more cannot all be compared with each other: so many places are, in their stead."""


def refusal(space: Space) -> str | None:
    """None if the autoencoder can compress this space, else the reason why not."""
    if space.is_set:
        return "compresses values whose places have an order, not sets"
    dims = len(space.grid)
    varies_well = not space.variable or (space.varies == 1 and dims != 2)
    if space.kind == "continuous" and 1 <= dims <= 3 and varies_well:
        return None
    return "compresses pictures, spectrograms and video"


class Level(nn.Module):
    """Residual blocks of one resolution."""

    def __init__(self, channels: int, dims: int, blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels, dims) for _ in range(blocks))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x


def usual_levels(space: Space, channels: tuple[int, ...] | None, patch: tuple[int, ...] | None) -> dict[str, Any]:
    """``channels`` of each level, from the finest, and ``patch``, as a space has them where they are not given.

    The grid is compressed at least 4 times along each axis, and until the code has 256 places or fewer; a clip at least
    2 times, and until it has 512.

    Raises:
        ConfigError: There are not as many sides of a patch as axes.
    """
    dims = len(space.grid)
    least, most = (4, 256) if dims < 3 else (2, 512)
    whole = [max(least, side) for side in compression(space.grid, most)]
    given = None if patch is None else patch * dims if len(patch) == 1 else patch
    if given and len(given) != dims:
        raise ConfigError(f"patch: {len(given)} sides for a grid of {dims} axes; give one for each, or one")
    if channels is None:
        # Each level halves all sides, so that the side that shrinks least says how many there are.
        if given:
            levels = 1 + min(side.bit_length() - own.bit_length() for side, own in zip(whole, given, strict=True))
        else:
            levels = min(min(whole), max(whole) // 4).bit_length()
        channels = tuple(min(256, 64 * 2**level) for level in range(max(1, levels)))
    patch = given or tuple(max(1, side // 2 ** (len(channels) - 1)) for side in whole)
    return {"channels": channels, "patch": one_or_each(patch)}


class ConvolutionalAutoencoder(nn.Module):
    """(channels, *grid) -> features of each place of *grid / factor; a code of each place -> (channels, *grid).

    Fixed sides that are no multiple of the factor are padded by repeating their last places, and cut on the way out;
    a length that varies is padded with zeros behind its mask, that of a clip to whole places by its last frame first.

    Args:
        space: Continuous, a grid of one to three dimensions.
        code: Numbers of the code of one place.
        features: Numbers that the analysis puts out for one place; the first ``code`` of them have the linear map.
        channels: Channels of each level, from the finest to the coarsest.
        blocks: Residual blocks per level, on either side.
        patch: Side of the patches that the first convolution reads, or one for each axis;
            factor = patch * 2 ** (levels - 1).

    Raises:
        ConfigError: The code is larger than what it codes.
    """

    compiled: tuple[str, ...] = ("_features", "synthesise")

    def __init__(
        self, space: Space, code: int, features: int, *, channels: tuple[int, ...], blocks: int, patch: Factor
    ):
        super().__init__()
        dims = len(space.grid)
        self.space, self.code, self.patch, self.dims = space, code, factors(patch, dims), dims
        self.factor = tuple(side * 2 ** (len(channels) - 1) for side in self.patch)
        if space.variable:
            self.compiled = ()  # see nn.compilation
        self.grid = tuple(-(-side // factor) for side, factor in zip(space.grid, self.factor, strict=True))
        margin = [-side % factor for side, factor in zip(space.grid, self.factor, strict=True)]
        if space.variable:
            margin[0] = 0
        self.margin = [number for after in reversed(margin) for number in (0, after)]
        volume, whole = space.channels * math.prod(self.patch), space.channels * math.prod(self.factor)
        if code > whole:
            raise ConfigError(f"patch: {code} numbers do not compress the {whole} of a place")
        self.proj_in = convolution(volume, channels[0], dims)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(channels):
            self.down.append(Level(width, dims, blocks))
            self.up.insert(0, Level(width, dims, blocks))
            if level + 1 < len(channels):
                self.down.append(Downsample(width, channels[level + 1], dims))
                self.up.insert(0, Upsample(channels[level + 1], width, dims))
        self.squeeze = nn.Sequential(ChannelNorm(channels[-1]), convolution(channels[-1], features, dims, zero=True))
        self.expand = convolution(code, channels[-1], dims)
        leave = convolution(channels[0], volume, dims, zero=True)
        self.proj_out = nn.Sequential(ChannelNorm(channels[0]), nn.SiLU(), leave)
        self.project = convolution(whole, code, dims, kernel=1, zero=True)
        self.unproject = convolution(code, whole, dims, kernel=1, zero=True)

    def analyse(self, field: Field) -> tuple[Tensor, Tensor | None]:
        """Features (B, features, *grid / factor) and, where the length varies, the mask (B, 1, l, ...) of places."""
        value, mask = self.real(field)
        return self._features(self._whole(value), mask)

    def _features(self, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        real = pool_real(mask, self.patch[0])
        x = hide(self.proj_in(unshuffle(value, self.patch)), real)
        for part in self.down:
            x = part(x, real)
            if isinstance(part, Downsample):
                real = pool_real(real, 2)
        linear = self.project(unshuffle(value, self.factor))
        x = self.squeeze(x)
        return torch.cat([x[:, : self.code] + linear, x[:, self.code :]], dim=1), real

    def synthesise(self, code: Tensor, mask: Tensor | None) -> Tensor:
        """Code (B, code, *grid / factor), with the mask of its places -> values in bounds.

        A length that varies is one of whole places.
        """
        code = hide(code, mask)
        linear = shuffle(self.unproject(code), self.factor)
        x = hide(self.expand(code), mask)
        for part in self.up:
            if isinstance(part, Upsample) and mask is not None:
                mask = mask.repeat_interleave(2, dim=2)
            x = part(x, mask)
        value = clamp_to_bounds(linear + shuffle(self.proj_out(x), self.patch), self.space)
        return crop(value, self.space.grid[1:] if self.space.variable else self.space.grid)

    def decode(self, code: Tensor, latent: Field) -> Field:
        """Code of the rows of ``latent``, whose mask is that of the places -> values in the space."""
        if not self.space.variable:
            return Field(self.synthesise(code, None), latent.mask, latent.present)
        value = self.synthesise(code, spread_mask(latent.mask, code.dim(), 1))
        mask = latent.mask.repeat_interleave(self.factor[0], dim=1)
        made = Field(value, mask, latent.present, self.space.varies).trim(self.space.max_length)
        return made.with_value(made.value)

    def real(self, field: Field) -> tuple[Tensor, Tensor | None]:
        """Values and, where a length varies, their mask (B, 1, L, ...), both padded to whole places."""
        if not self.space.variable:
            return channels_last(field.value), None
        value, mask, whole = field.value, pad_to_multiple(field.mask, self.factor[0]), self.factor[0]
        if self.dims == 1:
            value = pad_to_multiple(value, whole)
        else:
            # What is decoded has whole places: a clip that ends within one stands still to its end.
            place, length = torch.arange(mask.shape[1], device=value.device), mask.sum(1, keepdim=True)
            last = spread_mask(torch.minimum(place, (length - 1).clamp(min=0)), value.dim(), 1)
            value = value.gather(2, last.expand(-1, value.shape[1], -1, *value.shape[3:]))
            mask = place < -(-length // whole) * whole
        mask = spread_mask(mask, value.dim(), 1)
        return channels_last(value * mask), mask

    def _whole(self, value: Tensor) -> Tensor:
        """Values as of ``real``, fixed sides of which become whole places."""
        return channels_last(pad(value, self.margin, mode="replicate")) if any(self.margin) else value

    def errors(self, made: Tensor, value: Tensor, mask: Tensor | None, edge_weight: float) -> Losses:
        """``reconstruction`` and weighted ``edges`` (B,): absolute errors, and those of differences of neighbours.

        Args:
            made: Values that ``synthesise`` gave.
            value: The real values, as ``real`` gives them.
            mask: Their mask, as ``real`` gives it.
            edge_weight: Of ``edges``, which keep edges sharp; 0 for none.
        """
        real = torch.ones_like(value[:, :1]) if mask is None else mask.to(value.dtype)
        error = made - value
        losses = {"reconstruction": row_mean(error.abs(), real)}
        if edge_weight:
            edges = [
                row_mean(error.diff(dim=axis).abs(), _later(real, axis, error.shape[axis] - 1))
                for axis in ((1, 2) if self.dims == 1 else range(2, 2 + self.dims))
            ]
            losses["edges"] = edge_weight * sum(edges[1:], edges[0]) / len(edges)
        return losses

    @torch.no_grad()
    def start_from_components(
        self, fields: list[Field], *, whiten: bool, quantise: Callable[[Tensor], Tensor] = lambda code: code
    ) -> None:
        """Starts the linear maps as the principal components of the patches, greatest first.

        Args:
            fields: Training values.
            whiten: Scale each component to unit variance, rather than all as a whole.
            quantise: Of codes (places, code), what the synthesis sees of them; the way back is fitted to that by
                least squares.
        """
        patches = []
        for field in fields:
            value, real = self.real(field)
            pooled = pool_real(real, self.factor[0])
            mask = field.mask if pooled is None else pooled.flatten(1)
            patches.append(Field(unshuffle(self._whole(value), self.factor), mask, field.present, self.space.varies))
        x = places(patches, self.space.variable)
        if x.shape[1] > _WIDE:
            x = x[:: -(-len(x) // _WIDE)]
        mean = x.mean(0)
        values, basis = _principal_components(x - mean, self.code)
        scale = (values if whiten else values.mean().expand_as(values)).clamp(min=1e-6).sqrt()
        _set(self.project, basis.T / scale[:, None], -(basis.T @ mean) / scale)
        code = quantise((x - mean) @ basis / scale)
        centre = code.mean(0)
        spread = (code - centre).T @ (code - centre) / len(x)
        back = torch.linalg.solve(spread + 1e-6 * torch.eye(self.code, device=x.device), (code - centre).T @ (x - mean))
        _set(self.unproject, back.T / len(x), mean - centre @ back / len(x))


def places(fields: list[Field], variable: bool) -> Tensor:
    """(places, channels) of values (B, channels, *grid): the real places of all rows."""
    flat = []
    for field in fields:
        rows = field.value.movedim(1, -1)
        flat.append((rows[field.mask] if variable else rows).flatten(0, -2))
    return torch.cat(flat)


def _principal_components(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Variances (count,) and directions (F, count) of centred x (n, F), greatest first.

    In double precision, since patches that hardly vary have many variances that are 0 but for rounding; by the products
    of whichever are fewer, rows or numbers.
    """
    few = count <= len(x) < x.shape[1]
    products = (x @ x.T if few else x.T @ x) / len(x)
    values, vectors = torch.linalg.eigh(products.double())
    values, vectors = values[-count:].flip(0).to(x.dtype), vectors[:, -count:].flip(1).to(x.dtype)
    return values, torch.nn.functional.normalize(x.T @ vectors, dim=0) if few else vectors


def row_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Mean of x (B, C, *grid) over all but the rows, of places with ``weight`` (B, 1, *grid) 1; (B,), 0 of no place."""
    weight = weight.expand_as(x).flatten(1)
    return (x.flatten(1) * weight).sum(1) / weight.sum(1).clamp(min=1)


def _later(real: Tensor, dim: int, length: int) -> Tensor:
    """The weights of the later place of each pair of neighbours along ``dim``."""
    return real if real.shape[dim] == 1 else real.narrow(dim, 1, length)


def _set(layer: Convolution, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight.view_as(layer.weight))
    assert layer.bias is not None
    layer.bias.copy_(bias)
