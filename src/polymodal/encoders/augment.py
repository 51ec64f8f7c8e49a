"""Label-keeping changes of an encoder's input, batched and drawn per row by key.

Only what an encoder reads is changed, never what a head learns to generate. What befalls a row depends on its key and
its own length alone, and nothing befalls it where every strength is 0.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from polymodal.nn.random import fold, normal, uniform


def _symmetric(keys: Tensor, stream: int, limit: float) -> Tensor:
    """(B,) numbers in [-limit, limit)."""
    return (uniform(fold(keys, stream)) * 2 - 1) * limit


def jitter_picture(
    value: Tensor,
    keys: Tensor,
    *,
    scale: float,
    shift: float,
    colour: float,
    rotate_degrees: float = 0.0,
    erase: float = 0.0,
    noise: float = 0.0,
) -> Tensor:
    """Pictures (B, C, H, W), as another camera might take them in worse light, with a part hidden.

    Args:
        value: Pictures.
        keys: (B,) random keys.
        scale: Each side is scaled by 1 ± ``scale``.
        shift: Furthest move, as a share of the side.
        colour: Each channel is multiplied by 1 ± ``colour``.
        rotate_degrees: Largest turn, either way.
        erase: Longest sides of a rectangle set to the picture's mean, as shares of its own (random erasing, Zhong et
            al. 2020).
        noise: Greatest deviation of noise that is added, in the picture's unit; each row has its own. What leaves
            [-1, 1] is cut off, as a sensor does.
    """
    zoom_x = 1 + _symmetric(keys, 0, scale)
    zoom_y = 1 + _symmetric(keys, 1, scale)
    angle, aspect = _symmetric(keys, 5, math.radians(rotate_degrees)), value.shape[3] / value.shape[2]
    cosine, sine = angle.cos(), angle.sin()
    move_x, move_y = _symmetric(keys, 2, 2 * shift), _symmetric(keys, 3, 2 * shift)
    theta = torch.stack(
        [zoom_x * cosine, -zoom_y * sine / aspect, move_x, zoom_x * sine * aspect, zoom_y * cosine, move_y], dim=1
    ).view(-1, 2, 3)
    grid = torch.nn.functional.affine_grid(theta, list(value.shape), align_corners=False)
    value = grid_sample(value, grid, padding_mode="border", align_corners=False)
    gain = 1 + (uniform(fold(keys, 4), (value.shape[1],)) * 2 - 1) * colour
    value = value * gain[:, :, None, None]
    if noise:
        level = noise * uniform(fold(keys, 10))[:, None, None, None]
        value = (value + level * normal(fold(keys, 11), value.shape[1:])).clamp(-1, 1)
    if not erase:
        return value
    rows, columns = (_span(fold(keys, 6 + dim), torch.full_like(keys, value.shape[dim]), erase, 1, value.shape[dim])
                     for dim in (2, 3))  # fmt: skip
    return torch.where((rows[:, :, None] & columns[:, None])[:, None], value.mean((1, 2, 3), keepdim=True), value)


def _span(keys: Tensor, sizes: Tensor, share: float, count: int, side: int) -> Tensor:
    """(B, side) True in ``count`` spans of up to ``share`` of the first ``sizes`` (B,) places."""
    u = uniform(keys, (2, count))
    width = u[:, 0] * share * sizes[:, None]
    start = u[:, 1] * (sizes[:, None] - width)
    place = torch.arange(side, device=keys.device)
    return ((place >= start[..., None]) & (place < (start + width)[..., None])).any(1)


def jitter_spectrogram(
    value: Tensor,
    lengths: Tensor,
    keys: Tensor,
    *,
    warp: float,
    tilt: float,
    masks: int,
    band: float,
    span: float,
    speed: float = 0.0,
    shift: float = 0.0,
    noise: float = 0.0,
) -> Tensor:
    """Log-spectrograms (B, mels, frames) as another voice might sound in another room, with bands and spans hidden.

    Args:
        value: Spectrograms.
        lengths: (B,) real frames; those after them, which depend on the other rows, change nothing.
        keys: (B,) random keys.
        warp: The frequency axis is stretched by 1 ± ``warp`` (vocal tract length perturbation, Jaitly and Hinton 2013)
            and the time axis is not, so that lengths stay.
        tilt: A straight line from - to + ``tilt`` at most is added over frequency, and a constant of the same size: the
            gain.
        masks: Number of bands and of spans set to the row's mean (SpecAugment, Park et al. 2019).
        band: Widest band, as a share of the mels.
        span: Longest span, as a share of the frames.
        speed: The sound is 1 ± ``speed`` times as fast about its middle; its length stays, so that its ends are cut, or
            last longer.
        shift: Furthest move in time, as a share of the length.
        noise: Greatest deviation of noise that is added, in the spectrogram's unit; each row has its own.
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
    if speed or shift:
        value = _retimed(value, lengths, 1 + _symmetric(keys, 6, speed), _symmetric(keys, 7, shift) * lengths)
    if noise:  # drawn frame by frame, so that padding changes nothing
        level = noise * uniform(fold(keys, 8))[:, None, None]
        value = value + level * normal(fold(keys, 9), (frames, mels)).transpose(1, 2)
    real = torch.arange(frames, device=value.device) < lengths[:, None]
    mean = ((value * real[:, None]).sum((1, 2)) / (mels * lengths))[:, None, None]
    for dim, size, share in ((1, torch.full_like(lengths, mels), band), (2, lengths, span)):
        hidden = _span(fold(keys, 3 + dim), size, share, masks, value.shape[dim])
        value = torch.where(hidden[:, :, None] if dim == 1 else hidden[:, None], mean, value)
    return value


def _retimed(value: Tensor, lengths: Tensor, speed: Tensor, shift: Tensor) -> Tensor:
    """(B, mels, frames) read ``speed`` times as fast about the middle of each row, ``shift`` frames later."""
    last = (lengths - 1)[:, None].to(value.dtype)
    place = torch.arange(value.shape[2], device=value.device)
    position = (place - last / 2) * speed[:, None] + last / 2 + shift[:, None]
    position = torch.minimum(position.clamp(min=0), last)
    low = position.floor()
    fraction = (position - low)[:, None]
    index = low.long()[:, None].expand(-1, value.shape[1], -1)
    after = torch.minimum(index + 1, (lengths - 1)[:, None, None])
    return value.gather(2, index) * (1 - fraction) + value.gather(2, after) * fraction


def drop_tokens(x: Tensor, keys: Tensor, share: float) -> Tensor:
    """Embeddings (B, L, D) of which a ``share`` is 0: something stands there, but not what.

    Source: word dropout, Iyyer et al., "Deep unordered composition rivals syntactic methods for text classification",
    2015.
    """
    return x * (uniform(fold(keys, 0), (x.shape[1],)) >= share)[..., None]
