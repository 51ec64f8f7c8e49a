"""Pictures: files, arrays and Pillow's pictures <-> (channels, height, width) in [-1, 1]."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import torch
from markupsafe import Markup
from PIL import ExifTags, ImageCms, ImageColor, ImageOps
from PIL import Image as PILImage
from torch import Tensor

from polymodal.errors import ConfigError, DataError, quote
from polymodal.files import digest
from polymodal.modalities.base import ColumnSample, Modality, read_file
from polymodal.modalities.html import picture_html
from polymodal.modalities.pixels import from_array, open_picture, raster_suffixes, to_8_bits
from polymodal.types import Space

FITS = ("crop", "pad", "stretch")
_LARGE_PIXELS, _STRIP_PIXELS = 1 << 24, 1 << 20
_large = Lock()
"""Held while a picture of more than ``_LARGE_PIXELS`` is in memory."""
_RESAMPLE = PILImage.Resampling
_TURNS = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}
"""By EXIF orientation."""


class Image(Modality):
    """Pictures of one size, in colour or grey.

    Space: continuous (channels, height, width) in [-1, 1]. Stored: the same shape in 8 bits.

    A picture is turned upright by its EXIF tag, laid on ``background`` where it is transparent, then resized: with
    Lanczos' filter where it shrinks, a bicubic one where it grows. Animations give their first frame, volumes of DICOM
    and NIfTI (which need ``polymodal[medical]``) their middle slice; SVG (``polymodal[svg]``) is drawn to fit.

    Args:
        size: Side in pixels, or (height, width).
        channels: 3 for red, green and blue, 1 for grey.
        background: Colour behind transparent pixels and padding; any CSS name or ``#rrggbb``.
        fit: What to do with another aspect ratio: ``crop`` the middle, ``pad`` with the background, or ``stretch``.
        range: (low, high) values that are black and white, of pictures of floats or of more than 8 bits. None: the full
            range of unsigned integers; 0 and 1 for floats; those that a medical file names.
        max_pixels: A picture that claims more is refused before any is decoded.

    Raises:
        ConfigError: An argument is out of range.
    """

    dtype = np.uint8
    suffix = ".png"
    suffixes = (*raster_suffixes(), ".svg", ".dcm", ".nii", ".nii.gz")

    def __init__(
        self,
        size: int | Sequence[int] = 64,
        channels: int = 3,
        background: str = "white",
        fit: str = "pad",
        range: Sequence[float] | None = None,
        max_pixels: int = 89_478_485,  # a quarter of a GiB in RGB
    ) -> None:
        shape = tuple(size) if isinstance(size, Sequence) else (size, size)
        if len(shape) != 2 or not all(isinstance(side, int) and side > 0 for side in shape):
            raise ConfigError(f"size: {quote(size)} is not a side in pixels, nor a pair (height, width)")
        if channels not in (1, 3):
            raise ConfigError(f"channels: {quote(channels)} is neither 3 (colour) nor 1 (grey)")
        if fit not in FITS:
            raise ConfigError(f"fit: {quote(fit)} is not one of {', '.join(FITS)}")
        if range is not None and not (len(range) == 2 and np.isfinite(range).all() and range[0] != range[1]):
            raise ConfigError(f"range: {quote(range)} is not a pair of the values that are black and white")
        if max_pixels < 1:
            raise ConfigError(f"max_pixels: {quote(max_pixels)} is not at least 1")
        try:
            self._background = ImageColor.getcolor(background, "RGB")
        except (ValueError, AttributeError) as error:
            raise ConfigError(f"background: {quote(background)} is no colour, such as 'white' or '#ffffff'") from error
        self.size = size if isinstance(size, int) else list(shape)
        self.channels, self.background, self.fit, self.max_pixels = channels, background, fit, max_pixels
        self.range = None if range is None else [float(limit) for limit in range]
        self.space = Space("continuous", (channels, *shape), bounds=(-1.0, 1.0))

    def read(self, raw: Any) -> np.ndarray:
        """Path, bytes, PIL image, or array (H, W) or (H, W, 1 | 3 | 4) of integers or floats -> uint8."""
        try:
            picture = self._resize(self._decoded(raw))
        except DataError:
            raise
        except Exception as error:  # Pillow's decoders raise nearly every kind of error on broken files
            raise DataError(f"cannot decode the picture: {error}") from error
        pixels = np.asarray(picture)
        return pixels[None] if self.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _decoded(self, raw: Any) -> PILImage.Image:
        """A picture of any kind -> one in RGB or L, upright; a large one is smaller, and only one is in memory."""
        if isinstance(raw, np.ndarray):
            return self._flatten(from_array(raw, self.range))
        if isinstance(raw, Path | bytes):
            content = read_file(raw) if isinstance(raw, Path) else raw
            height, width = self.space.grid
            raw = open_picture(content, self.max_pixels, (width, height), self.range)
            if raw.width * raw.height > _LARGE_PIXELS:
                with _large:
                    return self._upright(raw)
        elif not isinstance(raw, PILImage.Image):
            raise DataError(f"a {type(raw).__name__} is not a picture")
        return self._upright(raw)

    def _upright(self, raw: PILImage.Image) -> PILImage.Image:
        raw.load()  # a TIFF is turned upright by this
        if raw.width * raw.height > _LARGE_PIXELS:
            picture = self._in_strips(raw)
        else:
            picture = self._flatten(to_8_bits(raw, self.range))
        turn = _TURNS.get(_orientation(raw))
        return picture if turn is None else picture.transpose(turn)

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.to(torch.float32).mul_(1 / 127.5).sub_(1)

    def write(self, value: Tensor) -> PILImage.Image:
        pixels = value.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return PILImage.fromarray(pixels[0] if self.channels == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))

    def portable(self) -> dict[str, Any]:
        return {"form": "pixels"}

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """PIL images, arrays of pixels, and files that are pictures by their endings or their content."""
        if sample.mostly(PILImage.Image) or sample.mostly_files(cls.suffixes):
            return cls()
        arrays = [cell for cell in sample.cells if isinstance(cell, np.ndarray) and cell.dtype == np.uint8]
        if 2 * sum(cell.ndim == 3 and cell.shape[2] in (3, 4) for cell in arrays) > len(sample.cells):
            return cls()
        found = [file for file in sample.files if isinstance(file, bytes)]
        tried = found[:: 1 + len(found) // 8]
        if 2 * len(found) <= len(sample.cells):
            return None
        return cls() if 2 * sum(map(_opens, tried)) > len(tried) else None

    @classmethod
    def identity(cls, raw: Any) -> bytes:
        """Of a PIL image, by all that ``read`` looks at: its frame's pixels, palette, transparency and orientation."""
        if not isinstance(raw, PILImage.Image):
            return super().identity(raw)
        try:
            palette = raw.getpalette()
            parts = [repr((raw.mode, raw.size, palette)).encode(), raw.tobytes()]
            seen = (_orientation(raw), raw.info.get("transparency"), raw.getpalette(None))
        except Exception as error:  # Pillow's decoders raise nearly every kind of error on broken files
            raise DataError(f"cannot decode the picture: {error}") from error
        if seen != (1, None, palette):
            parts.append(repr(seen).encode())
        return digest(b"picture", *parts)

    def encode(self, thing: PILImage.Image) -> bytes:
        file = BytesIO()
        thing.save(file, "PNG")
        return file.getvalue()

    def preview(self, thing: PILImage.Image) -> Markup:
        return picture_html(thing)

    def thumbnail(self, thing: PILImage.Image, side: int) -> PILImage.Image:
        return ImageOps.contain(thing.convert("RGB"), (side, side))

    def _in_strips(self, raw: PILImage.Image) -> PILImage.Image:
        """A large picture, flattened a strip at a time, and shrunk to at least four times the size that is wanted."""
        factor = max(1, min(raw.size) // (4 * max(self.space.grid)))
        rows = factor * max(1, _STRIP_PIXELS // (raw.width * factor))
        shrunk = PILImage.new("RGB" if self.channels == 3 else "L", (-(-raw.width // factor), -(-raw.height // factor)))
        for top in range(0, raw.height, rows):
            strip = raw.crop((0, top, raw.width, min(raw.height, top + rows)))
            shrunk.paste(self._flatten(to_8_bits(strip, self.range, raw.format)).reduce(factor), (0, top // factor))
        return shrunk

    def _flatten(self, picture: PILImage.Image) -> PILImage.Image:
        """Any mode -> RGB or L, on the background."""
        if picture.mode == "LAB":
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            picture = ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(picture)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            behind = PILImage.new("RGBA", picture.size, self._background)
            picture = PILImage.alpha_composite(behind, picture)
        return picture.convert("RGB" if self.channels == 3 else "L")

    def _resize(self, picture: PILImage.Image) -> PILImage.Image:
        height, width = self.space.grid
        if picture.size == (width, height):
            return picture
        across, down = width / picture.width, height / picture.height
        if self.fit == "pad":
            scale = min(across, down)
            inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            canvas = PILImage.new("RGB", (width, height), self._background).convert(picture.mode)
            canvas.paste(
                picture.resize(inner, _RESAMPLE.LANCZOS if scale < 1 else _RESAMPLE.BICUBIC),
                ((width - inner[0]) // 2, (height - inner[1]) // 2),
            )
            return canvas
        box = None
        if self.fit == "crop":
            scale = max(across, down)
            inside = min(picture.width, width / scale), min(picture.height, height / scale)  # but for rounding
            left, top = (picture.width - inside[0]) / 2, (picture.height - inside[1]) / 2
            box = (left, top, min(picture.width, left + inside[0]), min(picture.height, top + inside[1]))
            across = down = scale
        return picture.resize(
            (width, height), _RESAMPLE.LANCZOS if min(across, down) < 1 else _RESAMPLE.BICUBIC, box=box
        )


def _orientation(picture: PILImage.Image) -> int:
    """What the EXIF tag says of a picture's way up, 1 where it says nothing that can be read."""
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises nearly every kind of error on broken notes, of which the pixels are independent
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def _opens(content: bytes) -> bool:
    """Whether a file is a picture."""
    try:
        Image().read(content)
    except DataError as error:
        return "range=" in str(error)  # a picture whose range is not known
    return True
