"""A convolutional autoencoder with a lightly regularised Gaussian code, for pictures and spectrograms.

Source: Rombach et al., "High-resolution image synthesis with latent diffusion models", 2022 (the KL-regularised code);
Chen et al., "Deep compression autoencoder for efficient high-resolution diffusion models", 2024 (the residual
down- and upsampling). A linear map of whole patches runs beside the convolutions and starts as their principal
components (Baldi and Hornik 1989: the best linear autoencoder), so that the convolutions learn only what is left; see
docs/adr/0002.
"""

import torch
from torch import Tensor, nn

from polymodal.codecs.base import Codec
from polymodal.errors import ConfigError
from polymodal.nn.conv import ChannelNorm, Downsample, ResidualBlock, Upsample, convolution, shuffle, unshuffle
from polymodal.nn.patches import pad_to_multiple, pool_mask
from polymodal.nn.random import normal
from polymodal.types import Field, Losses, Space


class Level(nn.Module):
    """Residual blocks of one resolution."""

    def __init__(self, channels: int, dims: int, blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels, dims) for _ in range(blocks))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x


class KLAutoencoder(Codec):
    """Maps (channels, *grid) to (latent, *grid / factor), factor = patch * 2 ** (levels - 1).

    Args:
        space: Continuous, a grid of one or two dimensions.
        latent: Channels of the code.
        channels: Of each level, from the finest to the coarsest.
        blocks: Residual blocks per level, on either side.
        patch: Side of the patches that the first convolution reads.
        kl_weight: Of the divergence from the standard normal, per element of the code.
        edge_weight: Of the absolute error in differences of neighbours, which keeps edges sharp.
        noise: Standard deviation of the noise that the decoder learns to bear, where the code's own is about 1: what
            is generated later is never exact.
    """

    def __init__(
        self,
        space: Space,
        *,
        latent: int = 32,
        channels: tuple[int, ...] = (64, 128, 256),
        blocks: int = 1,
        patch: int = 4,
        kl_weight: float = 1e-4,
        edge_weight: float = 1.0,
        noise: float = 0.1,
    ):
        super().__init__()
        dims = len(space.grid)
        self.space, self.patch, self.dims = space, patch, dims
        self.kl_weight, self.edge_weight, self.noise = kl_weight, edge_weight, noise
        self.factor = patch * 2 ** (len(channels) - 1)
        if not space.variable and any(side % self.factor for side in space.grid):
            raise ConfigError(f"channels: the grid {space.grid} is not a multiple of the compression {self.factor}")
        self.latent = Space(
            "continuous",
            (latent, *(-(-side // self.factor) for side in space.grid)),
            variable=space.variable,
        )
        volume = space.channels * patch**dims
        self.enter = convolution(volume, channels[0], dims)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(channels):
            self.down.append(Level(width, dims, blocks))
            self.up.insert(0, Level(width, dims, blocks))
            if level + 1 < len(channels):
                self.down.append(Downsample(width, channels[level + 1], dims))
                self.up.insert(0, Upsample(channels[level + 1], width, dims))
        self.squeeze = nn.Sequential(ChannelNorm(channels[-1]), convolution(channels[-1], 2 * latent, dims, zero=True))
        self.expand = convolution(latent, channels[-1], dims)
        leave = convolution(channels[0], volume, dims, zero=True)
        self.leave = nn.Sequential(ChannelNorm(channels[0]), nn.SiLU(), leave)
        whole = space.channels * self.factor**dims
        self.project = convolution(whole, latent, dims, kernel=1, zero=True)
        self.unproject = convolution(latent, whole, dims, kernel=1, zero=True)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(()))

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if space.kind == "continuous" and len(space.grid) in (1, 2) and (len(space.grid) == 1 or not space.variable):
            return None
        return "compresses pictures and spectrograms"

    def _mask(self, field: Field) -> Tensor | None:
        """(B, 1, L) for lengths that vary, L a multiple of the compression."""
        return pad_to_multiple(field.mask, self.factor)[:, None] if self.space.variable else None

    def _moments(self, field: Field) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mean and log-variance of the code, and the mask of its positions."""
        value, mask = field.value, self._mask(field)
        if self.dims == 2:
            value = value.contiguous(memory_format=torch.channels_last)
        else:
            value = pad_to_multiple(value, self.factor)
        value = value if mask is None else value * mask
        mask = None if mask is None else pool_mask(mask[:, 0], self.patch)[:, None]
        x = self.enter(unshuffle(value, self.patch))
        x = x if mask is None else x * mask
        for part in self.down:
            x = part(x, mask)
            if isinstance(part, Downsample) and mask is not None:
                mask = pool_mask(mask[:, 0], 2)[:, None]
        mean, log_variance = self.squeeze(x).chunk(2, dim=1)
        mean = mean + self.project(unshuffle(value, self.factor))
        return mean, (log_variance - 6).clamp(-20, 10), mask

    def _reconstruct(self, code: Tensor, mask: Tensor | None) -> Tensor:
        linear = shuffle(self.unproject(code), self.factor)
        x = self.expand(code)
        x = x if mask is None else x * mask
        for part in self.up:
            if isinstance(part, Upsample) and mask is not None:
                mask = mask.repeat_interleave(2, dim=2)
            x = part(x, mask)
        return linear + shuffle(self.leave(x), self.patch)

    def loss(self, target: Field, player: str, keys: Tensor) -> Losses:
        """``reconstruction``, ``edges`` and ``kl``, each already weighted, means per element of the row."""
        mean, log_variance, mask = self._moments(target)
        scale = torch.exp(0.5 * log_variance) + self.noise
        code = mean + scale * normal(keys, mean.shape[1:][::-1]).transpose(1, -1)  # last axis first: it may be padded
        made = self._reconstruct(code, mask)
        value = pad_to_multiple(target.value, self.factor) if self.dims == 1 else target.value
        real = torch.ones_like(value[:, :1]) if mask is None else self._mask(target).to(value.dtype)  # type: ignore[union-attr]
        error = made - value
        losses = {"reconstruction": _row_mean(error.abs(), real)}
        if self.edge_weight:
            edges = [
                _row_mean(error.diff(dim=axis).abs(), _later(real, axis, error.shape[axis] - 1))
                for axis in ((1, 2) if self.dims == 1 else (2, 3))
            ]
            losses["edges"] = self.edge_weight * sum(edges[1:], edges[0]) / len(edges)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        losses["kl"] = self.kl_weight * _row_mean(kl, torch.ones_like(kl[:, :1]) if mask is None else mask.to(kl.dtype))
        return losses

    def encode(self, field: Field) -> Field:
        mean, _, mask = self._moments(field)
        code = (mean - self.mean.view(1, -1, *[1] * self.dims)) / self.std
        return Field(code if mask is None else code * mask, field.mask if mask is None else mask[:, 0], field.present)

    def decode(self, latent: Field) -> Field:
        mask = latent.mask[:, None] if self.space.variable else None
        code = latent.value * self.std + self.mean.view(1, -1, *[1] * self.dims)
        value = self._reconstruct(code if mask is None else code * mask, mask)
        if mask is None:
            return Field(value, latent.mask, latent.present)
        longest = self.space.max_length
        full = latent.mask.repeat_interleave(self.factor, dim=1)[:, :longest]
        return Field(value[..., :longest] * full[:, None], full, latent.present)

    @torch.no_grad()
    def calibrate(self, fields: list[Field]) -> None:
        """Sets mean and deviation of each channel of the code from training rows."""
        self.mean.zero_()
        self.std.fill_(1)
        codes = self._places([self.encode(field) for field in fields])
        self.mean.copy_(codes.mean(0))
        self.std.copy_((codes - self.mean).square().mean().sqrt())

    @torch.no_grad()
    def initialise(self, fields: list[Field]) -> None:
        """Starts the linear part as the principal components of the patches, scaled to unit variance as a whole."""
        patches = []
        for field in fields:
            value = pad_to_multiple(field.value, self.factor) if self.dims == 1 else field.value
            mask = pool_mask(field.mask, self.factor) if self.space.variable else field.mask
            patches.append(Field(unshuffle(value, self.factor), mask, field.present))
        x = self._places(patches)
        mean = x.mean(0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        values, vectors = torch.linalg.eigh(covariance)
        scale = values[-len(self.mean) :].mean().sqrt().clamp(min=1e-3)
        basis = vectors[:, -len(self.mean) :].flip(1)
        for layer, weight, bias in (
            (self.project, basis.T / scale, -(basis.T @ mean) / scale),
            (self.unproject, basis * scale, mean),
        ):
            layer.weight.copy_(weight.view_as(layer.weight))
            assert layer.bias is not None
            layer.bias.copy_(bias)

    def _places(self, fields: list[Field]) -> Tensor:
        """(places, channels): the real places of all rows."""
        flat = []
        for field in fields:
            places = field.value.movedim(1, -1)
            flat.append(places[field.mask] if self.space.variable else places.flatten(0, -2))
        return torch.cat(flat)


def _row_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Mean of x (B, C, *grid) over all but the rows, places weighted by ``weight`` (B, 1, *grid); (B,)."""
    weight = weight.expand_as(x).flatten(1)
    return (x.flatten(1) * weight).sum(1) / weight.sum(1)


def _later(real: Tensor, dim: int, length: int) -> Tensor:
    """The weights of the later place of each pair of neighbours along ``dim``."""
    return real if real.shape[dim] == 1 else real.narrow(dim, 1, length)
