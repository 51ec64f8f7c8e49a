"""Pictures: anything Pillow reads <-> (channels, height, width) in [-1, 1]."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from markupsafe import Markup
from PIL import ExifTags, ImageCms, ImageColor, ImageOps
from PIL import Image as PILImage
from torch import Tensor

from polymodal.errors import ConfigError, DataError
from polymodal.files import digest
from polymodal.modalities.base import ColumnSample, Modality
from polymodal.modalities.html import picture_html
from polymodal.types import Space

FITS = ("crop", "pad", "stretch")
_RESAMPLE = PILImage.Resampling


class Image(Modality):
    """Pictures of one size, in colour or grey.

    Space: continuous (channels, height, width) in [-1, 1]. Stored: the same shape in 8 bits.

    A picture is turned upright by its EXIF tag, laid on ``background`` where it is transparent, then resized: with
    Lanczos' filter where it shrinks, a bicubic one where it grows. Animations give their first frame.

    Args:
        size: Side in pixels, or (height, width).
        channels: 3 for red, green and blue, 1 for grey.
        background: Colour behind transparent pixels and padding; any CSS name or ``#rrggbb``.
        fit: What to do with another aspect ratio: ``crop`` the middle, ``pad`` with the background, or ``stretch``.

    Raises:
        ConfigError: An argument is out of range.
    """

    MAX_PIXELS: ClassVar[int] = 89_478_485
    """A picture that claims more pixels (a quarter of a GiB in RGB) is refused before any is decoded."""

    dtype = np.uint8
    suffix = ".png"
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")

    def __init__(
        self, size: int | Sequence[int] = 64, channels: int = 3, background: str = "white", fit: str = "crop"
    ) -> None:
        shape = tuple(size) if isinstance(size, Sequence) else (size, size)
        if len(shape) != 2 or not all(isinstance(side, int) and side > 0 for side in shape):
            raise ConfigError(f"size: {size!r} is not a side in pixels, nor a pair (height, width)")
        if channels not in (1, 3):
            raise ConfigError(f"channels: {channels!r} is neither 3 (colour) nor 1 (grey)")
        if fit not in FITS:
            raise ConfigError(f"fit: {fit!r} is not one of {', '.join(FITS)}")
        try:
            self._background = ImageColor.getcolor(background, "RGB")
        except (ValueError, AttributeError) as error:
            raise ConfigError(f"background: {background!r} is no colour, such as 'white' or '#ffffff'") from error
        self.size = size if isinstance(size, int) else list(shape)
        self.channels, self.background, self.fit = channels, background, fit
        self.space = Space("continuous", (channels, *shape), bounds=(-1.0, 1.0))

    def read(self, raw: Any) -> np.ndarray:
        """Path, bytes, PIL image, or array (H, W) or (H, W, 1 | 3 | 4) of uint8 or of floats in [0, 1] -> uint8."""
        if isinstance(raw, np.ndarray):
            picture = _from_array(raw)
        elif isinstance(raw, PILImage.Image):
            picture = raw
        elif isinstance(raw, Path | bytes):
            picture = self._open(raw)
        else:
            raise DataError(f"a {type(raw).__name__} is not a picture")
        try:
            picture = ImageOps.exif_transpose(picture)
            picture = self._resize(self._flatten(picture))
        except Exception as error:  # Pillow's decoders raise nearly every kind of error on broken files
            raise DataError(f"cannot decode the picture: {error}") from error
        pixels = np.asarray(picture)
        return pixels[None] if self.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.to(torch.float32).mul_(1 / 127.5).sub_(1)

    def write(self, value: Tensor) -> PILImage.Image:
        pixels = value.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return PILImage.fromarray(pixels[0] if self.channels == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """PIL images, and files that are pictures by their endings or their content."""
        if isinstance(sample.first, PILImage.Image) or sample.suffix in cls.suffixes:
            return cls()
        if sample.content is None:
            return None
        try:
            cls().read(sample.content)
        except DataError:
            return None
        return cls()

    @classmethod
    def identity(cls, raw: Any) -> bytes:
        """Of a PIL image, by all that ``read`` looks at: its frame's pixels, palette, transparency and orientation."""
        if not isinstance(raw, PILImage.Image):
            return super().identity(raw)
        try:
            palette = raw.getpalette()
            parts = [repr((raw.mode, raw.size, palette)).encode(), raw.tobytes()]
            seen = (raw.getexif().get(ExifTags.Base.Orientation, 1), raw.info.get("transparency"), raw.getpalette(None))
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

    def _open(self, raw: Path | bytes) -> PILImage.Image:
        too_large = f"is over {self.MAX_PIXELS:,} pixels"
        try:
            # Opening reads the header only. The file is read whole, so that none stays open behind a lazy image.
            picture = PILImage.open(BytesIO(raw if isinstance(raw, bytes) else raw.read_bytes()))
        except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning) as error:
            raise DataError(f"the picture {too_large}") from error
        except PILImage.UnidentifiedImageError as error:
            raise DataError("not a picture that Pillow can read") from error
        except Exception as error:
            raise DataError(f"cannot open the picture: {error}") from error
        if picture.width * picture.height > self.MAX_PIXELS:
            raise DataError(f"the picture {too_large}: {picture.width} x {picture.height}")
        return picture

    def _flatten(self, picture: PILImage.Image) -> PILImage.Image:
        """Any mode -> RGB or L, on the background."""
        if picture.mode.startswith("I") or picture.mode == "F":
            picture = _to_8_bits(picture)
        elif picture.mode == "LAB":
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
            left, top = (picture.width - width / scale) / 2, (picture.height - height / scale) / 2
            box = (left, top, left + width / scale, top + height / scale)
            across = down = scale
        return picture.resize(
            (width, height), _RESAMPLE.LANCZOS if min(across, down) < 1 else _RESAMPLE.BICUBIC, box=box
        )


def _to_8_bits(picture: PILImage.Image) -> PILImage.Image:
    """Integers of 16 bits lose their lower half; floats are taken as [0, 1]."""
    values = np.asarray(picture, dtype=np.float64)
    values = values * 255 if picture.mode == "F" else values / 257
    return PILImage.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _from_array(array: np.ndarray) -> PILImage.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or array.size == 0:
        raise DataError(f"an array of shape {array.shape} is not a picture: (height, width[, 1, 3 or 4]) is")
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):  # False for NaN too
            raise DataError("a picture of floats must lie in [0, 1]")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(f"an array of {array.dtype} is not a picture: uint8 in [0, 255] or floats in [0, 1] are")
    return PILImage.fromarray(array)
