"""Shares drawn as colours and bars: what speaks for an output is blue, what speaks against it is red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image as PILImage
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from polymodal.modalities.html import picture_html

_FOR, _AGAINST = (47, 111, 159), (179, 65, 46)
_CELLS = 16
"""Cells of a heat map along a side; single pixels are noise."""
_SIDE = 192
"""Pixels of a drawn picture."""


def bars(values: Mapping[str, float]) -> Markup:
    """Numbers by name as bars from zero, to the right if positive."""
    largest = max((abs(value) for value in values.values()), default=0.0) or 1.0
    lines = [
        Markup(
            '<div style="margin: .35rem 0">{} <b style="float: right">{:+.3g}</b>'
            '<span class="bar"><i style="left: {:.1f}%; width: {:.1f}%; background: rgb({} {} {})"></i></span></div>'
        ).format(name, value, 50 + min(0.0, 50 * value / largest), 50 * abs(value) / largest, *_colour(value))
        for name, value in values.items()
    ]
    return Markup("").join(lines)


def coloured_text(pieces: Sequence[tuple[str, float]]) -> Markup:
    """Pieces of text, each on the colour of its share."""
    largest = max((abs(share) for _, share in pieces), default=0.0) or 1.0
    spans = [
        Markup(
            '<span title="{:+.3g}" style="white-space: pre-wrap; padding: .15em 0; background: rgb({} {} {} / {:.2f})">'
            "{}</span>"
        ).format(share, *_colour(share), 0.75 * abs(share) / largest, text or "⏎")
        for text, share in pieces
    ]
    return Markup('<span class="text" style="font-size: 1.3rem">{}</span>').format(Markup("").join(spans))


def coloured_picture(picture: PILImage.Image, part: Tensor) -> Markup:
    """A picture beside itself in grey under a heat map of shares (H, W)."""
    high, wide = part.shape
    coarse = adaptive_avg_pool2d(part[None, None].float(), (min(_CELLS, high), min(_CELLS, wide)))
    size = round(_SIDE * high / max(high, wide)), round(_SIDE * wide / max(high, wide))
    strength = _strength(interpolate(coarse, size, mode="bilinear")[0, 0])
    plain = picture.convert("RGB").resize((size[1], size[0]), PILImage.Resampling.NEAREST)
    grey = picture.convert("L").convert("RGB").resize((size[1], size[0]), PILImage.Resampling.NEAREST)
    mixed = _mix(128 + (np.asarray(grey, np.float32) - 128) * 0.6 + 40, strength)
    return Markup('<span class="values">{}{}</span>').format(_image(plain), _image(PILImage.fromarray(mixed)))


def coloured_bands(value: Tensor, part: Tensor) -> Markup:
    """A spectrogram (bands, L), low bands below, under its shares (bands, L), and the sum of each frame as a bar."""
    level = (value - value.min()) / (value.max() - value.min()).clamp(min=1e-12)
    share = adaptive_avg_pool2d(part[None, None].float(), (min(_CELLS, part.shape[0]), part.shape[1]))
    strength = _strength(interpolate(share, size=part.shape)[0, 0].flip(0))
    grey = (255 - 160 * level.flip(0).numpy())[..., None].repeat(3, 2)
    image = PILImage.fromarray(_mix(grey, strength)).resize((2 * _SIDE, _SIDE // 2), PILImage.Resampling.NEAREST)
    return _image(image) + strip(part.sum(0))


def strip(shares: Tensor) -> Markup:
    """Shares (L,) as upright bars side by side, such as those of the frames of a sound or of a video."""
    bar = np.zeros((24, len(shares), 3), np.float32) + 255
    for place, height in enumerate(_strength(shares)):
        bar[24 - max(1, round(24 * abs(float(height)))) :, place] = _colour(height)
    picture = PILImage.fromarray(bar.astype(np.uint8)).resize((2 * _SIDE, 32), PILImage.Resampling.NEAREST)
    return _image(picture)


def _colour(share: float) -> tuple[int, int, int]:
    return _FOR if share >= 0 else _AGAINST


def _strength(shares: Tensor) -> np.ndarray:
    """From -1 to 1, 0 where the share is."""
    return (shares / shares.abs().max().clamp(min=1e-12)).numpy()


def _mix(grey: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Colours laid over grey (H, W, 3), as strong as the numbers (H, W) from -1 to 1."""
    colour = np.where(strength[..., None] >= 0, np.array(_FOR, np.float32), np.array(_AGAINST, np.float32))
    weight = 0.85 * np.abs(strength)[..., None]
    return np.clip(grey * (1 - weight) + colour * weight, 0, 255).astype(np.uint8)


def _image(picture: PILImage.Image) -> Markup:
    return Markup('<span class="drawn">{}</span>').format(picture_html(picture))
