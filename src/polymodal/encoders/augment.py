"""Label-keeping changes of an encoder's input, batched and drawn per row by key.

Only what an encoder reads is changed, never what a head learns to generate.
"""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from polymodal.nn.random import fold, uniform


def _symmetric(keys: Tensor, stream: int, limit: float) -> Tensor:
    """(B,) numbers in [-limit, limit)."""
    return (uniform(fold(keys, stream)) * 2 - 1) * limit


def jitter_picture(value: Tensor, keys: Tensor, *, scale: float, shift: float, colour: float) -> Tensor:
    """Pictures (B, C, H, W), scaled by 1 ± ``scale``, moved by ± ``shift`` of the side, tinted by ± ``colour``."""
    zoom_x = 1 + _symmetric(keys, 0, scale)
    zoom_y = 1 + _symmetric(keys, 1, scale)
    zero = torch.zeros_like(zoom_x)
    theta = torch.stack(
        [zoom_x, zero, _symmetric(keys, 2, 2 * shift), zero, zoom_y, _symmetric(keys, 3, 2 * shift)], dim=1
    ).view(-1, 2, 3)
    grid = torch.nn.functional.affine_grid(theta, list(value.shape), align_corners=False)
    value = grid_sample(value, grid, padding_mode="border", align_corners=False)
    gain = 1 + (uniform(fold(keys, 4), (value.shape[1],)) * 2 - 1) * colour
    return value * gain[:, :, None, None]


def jitter_spectrogram(
    value: Tensor, lengths: Tensor, keys: Tensor, *, warp: float, tilt: float, masks: int, band: float, span: float
) -> Tensor:
    """Log-spectrograms (B, mels, frames) as another voice might sound, with bands and spans hidden.

    Args:
        value: Spectrograms.
        lengths: (B,) real frames; those after them, which depend on the other rows, change nothing.
        keys: (B,) random keys.
        warp: The frequency axis is stretched by 1 ± ``warp`` (vocal tract length perturbation, Jaitly and Hinton 2013)
            and the time axis likewise is not: lengths stay.
        tilt: A straight line from - to + ``tilt`` at most is added over frequency, and a constant of the same size.
        masks: Number of bands and of spans set to the row's mean (SpecAugment, Park et al. 2019).
        band: Widest band, as a share of the mels.
        span: Longest span, as a share of the frames.
    """
    batch, mels, frames = value.shape
    axis = torch.linspace(-1, 1, mels, device=value.device)
    source = (axis + 1) * (1 + _symmetric(keys, 0, warp)[:, None]) - 1 + _symmetric(keys, 1, warp)[:, None] / 2
    position = ((source + 1) * 0.5 * (mels - 1)).clamp(0, mels - 1)
    low = position.floor().clamp(max=mels - 2)
    index, fraction = low.long(), (position - low)[..., None]
    rows = torch.arange(batch, device=value.device)[:, None]
    value = value[rows, index] * (1 - fraction) + value[rows, index + 1] * fraction
    value = value + (axis * _symmetric(keys, 2, tilt)[:, None] + _symmetric(keys, 3, tilt)[:, None])[..., None]
    real = torch.arange(frames, device=value.device) < lengths[:, None]
    mean = ((value * real[:, None]).sum((1, 2)) / (mels * lengths))[:, None, None]
    for dim, size, share in ((1, torch.full_like(lengths, mels), band), (2, lengths, span)):
        u = uniform(fold(keys, 3 + dim), (2, masks))
        width = u[:, 0] * share * size[:, None]
        start = u[:, 1] * (size[:, None] - width)
        place = torch.arange(value.shape[dim], device=value.device)
        hidden = ((place >= start[..., None]) & (place < (start + width)[..., None])).any(1)
        value = torch.where(hidden[:, :, None] if dim == 1 else hidden[:, None], mean, value)
    return value
