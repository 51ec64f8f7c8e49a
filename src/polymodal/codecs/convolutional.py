"""The convolutional autoencoder that codecs of pictures and spectrograms share: all but the code itself.

Source: Chen et al., "Deep compression autoencoder for efficient high-resolution diffusion models", 2024 (the residual
down- and upsampling). A linear map of whole patches runs beside the convolutions and starts as their principal
components (Baldi and Hornik 1989: the best linear autoencoder), so that the convolutions learn only what is left; see
docs/adr/0002.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from polymodal.errors import ConfigError
from polymodal.nn.bounds import clamp_to_bounds
from polymodal.nn.conv import ChannelNorm, Downsample, ResidualBlock, Upsample, convolution, hide, shuffle, unshuffle
from polymodal.nn.patches import crop, halvings, pad_to_multiple, pool_mask
from polymodal.types import Field, Losses, Space


def refusal(space: Space) -> str | None:
    """None if the autoencoder can compress this space, else the reason why not."""
    if space.is_set:
        return "compresses values whose places have an order, not sets"
    if space.kind == "continuous" and (len(space.grid) == 1 or (len(space.grid) == 2 and not space.variable)):
        return None
    return "compresses pictures and spectrograms"


class Level(nn.Module):
    """Residual blocks of one resolution."""

    def __init__(self, channels: int, dims: int, blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels, dims) for _ in range(blocks))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x


def usual_levels(space: Space, channels: tuple[int, ...] | None, patch: int | None) -> dict[str, Any]:
    """``channels`` of each level, from the finest, and ``patch``, as a space has them where they are not given.

    The grid is compressed at least 4 times along each axis, and until the code has 256 places or fewer.
    """
    number = max(2, halvings(space.grid, 256))
    if channels is None:
        levels = number - (patch or 4).bit_length() + 2
        channels = tuple(min(256, 64 * 2**level) for level in range(max(1, levels)))
    return {"channels": channels, "patch": patch or max(1, 2 ** (number - len(channels) + 1))}


class ConvolutionalAutoencoder(nn.Module):
    """(channels, *grid) -> features of each place of *grid / factor; a code of each place -> (channels, *grid).

    Fixed sides that are no multiple of the factor are padded by repeating their last places, and cut on the way out;
    a length that varies is padded with zeros behind its mask.

    Args:
        space: Continuous, a grid of one or two dimensions.
        code: Numbers of the code of one place.
        features: Numbers that the analysis puts out for one place; the first ``code`` of them have the linear map.
        channels: Channels of each level, from the finest to the coarsest.
        blocks: Residual blocks per level, on either side.
        patch: Side of the patches that the first convolution reads; factor = patch * 2 ** (levels - 1).

    Raises:
        ConfigError: The code is larger than what it codes.
    """

    compiled: tuple[str, ...] = ("_features", "synthesise")

    def __init__(self, space: Space, code: int, features: int, *, channels: tuple[int, ...], blocks: int, patch: int):
        super().__init__()
        dims = len(space.grid)
        self.space, self.code, self.patch, self.dims = space, code, patch, dims
        self.factor = patch * 2 ** (len(channels) - 1)
        if space.variable:
            self.compiled = ()  # see nn.compilation
        self.grid = tuple(-(-side // self.factor) for side in space.grid)
        self.margin = [number for side in reversed(space.grid) for number in (0, -side % self.factor)]
        volume, whole = space.channels * patch**dims, space.channels * self.factor**dims
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
        """Features (B, features, *grid / factor) and, where the length varies, the mask (B, 1, l) of their places."""
        value, mask = self.real(field)
        return self._features(self._whole(value), mask)

    def _features(self, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x, real = self.proj_in(unshuffle(value, self.patch)), mask
        if real is not None:
            real = pool_mask(real[:, 0], self.patch)[:, None]
        x = hide(x, real)
        for part in self.down:
            x = part(x, real)
            if isinstance(part, Downsample) and real is not None:
                real = pool_mask(real[:, 0], 2)[:, None]
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
        return value if self.space.variable else crop(value, self.space.grid)

    def decode(self, code: Tensor, latent: Field) -> Field:
        """Code of the rows of ``latent``, whose mask is that of the places -> values in the space."""
        if not self.space.variable:
            return Field(self.synthesise(code, None), latent.mask, latent.present)
        value = self.synthesise(code, latent.mask[:, None])
        longest = self.space.max_length
        mask = latent.mask.repeat_interleave(self.factor, dim=1)[:, :longest]
        return Field(value[..., :longest] * mask[:, None], mask, latent.present, self.space.varies)

    def real(self, field: Field) -> tuple[Tensor, Tensor | None]:
        """Values and, where a length varies, their mask (B, 1, L), both padded to whole places."""
        if not self.space.variable:
            value = field.value
            return value.contiguous(memory_format=torch.channels_last) if self.dims == 2 else value, None
        value, mask = pad_to_multiple(field.value, self.factor), pad_to_multiple(field.mask, self.factor)[:, None]
        return value * mask, mask

    def _whole(self, value: Tensor) -> Tensor:
        """Values as of ``real``, fixed sides of which become whole places."""
        if self.space.variable or not any(self.margin):
            return value
        value = pad(value, self.margin, mode="replicate")
        return value.contiguous(memory_format=torch.channels_last) if self.dims == 2 else value

    def errors(self, made: Tensor, value: Tensor, mask: Tensor | None, edge_weight: float) -> Losses:
        """``reconstruction`` and weighted ``edges`` (B,): absolute errors, and those of differences of neighbours.

        Args:
            made: The same as in ``synthesise``.
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
                for axis in ((1, 2) if self.dims == 1 else (2, 3))
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
            value = self._whole(self.real(field)[0])
            mask = pool_mask(field.mask, self.factor) if self.space.variable else field.mask
            patches.append(Field(unshuffle(value, self.factor), mask, field.present, self.space.varies))
        x = places(patches, self.space.variable)
        mean = x.mean(0)
        values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        values, basis = values[-self.code :].flip(0), vectors[:, -self.code :].flip(1)
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
        flat.append(rows[field.mask] if variable else rows.flatten(0, -2))
    return torch.cat(flat)


def row_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Mean of x (B, C, *grid) over all but the rows, of places with ``weight`` (B, 1, *grid) 1; (B,), 0 of no place."""
    weight = weight.expand_as(x).flatten(1)
    return (x.flatten(1) * weight).sum(1) / weight.sum(1).clamp(min=1)


def _later(real: Tensor, dim: int, length: int) -> Tensor:
    """The weights of the later place of each pair of neighbours along ``dim``."""
    return real if real.shape[dim] == 1 else real.narrow(dim, 1, length)


def _set(layer: nn.Conv1d | nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight.view_as(layer.weight))
    assert layer.bias is not None
    layer.bias.copy_(bias)
