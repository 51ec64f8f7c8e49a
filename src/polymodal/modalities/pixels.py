"""Pixels: files of pictures -> Pillow's pictures, of 8 bits a channel.

Only formats that hold pixels are opened. Pillow knows others that start programs (EPS starts Ghostscript) or hold no
picture.
"""

from collections.abc import Sequence
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image as PILImage

from polymodal.errors import DataError
from polymodal.modalities.medical import is_medical, read_medical
from polymodal.modalities.svg import draw_svg, is_svg

_FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "MPO", "ICO", "DIB", "TGA", "QOI"),
    *("PSD", "PCX", "DCX", "DDS", "SGI", "SUN", "XBM", "XPM", "ICNS", "CUR", "IM", "MSP", "BLP", "FTEX"),
    *("HEIF", "JXL"),  # if their plugins have been registered
)
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PNG_TURNS = (b"Raw profile type", b"XML:com.adobe.xmp")
"""Texts of a PNG that may say which way up the picture is."""

Range = Sequence[float] | None


def open_picture(content: bytes, max_pixels: int, size: tuple[int, int], limits: Range = None) -> PILImage.Image:
    """A file of a picture, of which Pillow has read the header at least.

    Args:
        content: Content of the file: a raster, SVG, DICOM or NIfTI.
        max_pixels: One that claims more is refused before any is decoded.
        size: (width, height) that a drawing is drawn to fit, so that no detail is lost.
        limits: Values that are black and white where more than 8 bits are in a file; see ``to_8_bits``.

    Raises:
        DataError: It cannot be read.
    """
    too_large = f"the picture is over {max_pixels:,} pixels; max_pixels can be set higher"

    def check(width: int, height: int) -> None:
        if width * height > max_pixels:
            raise DataError(f"{too_large}: {width} x {height}")

    if is_svg(content):
        content = draw_svg(content, *size)
    elif is_medical(content):
        values, natural = read_medical(content, check)
        return from_array(values, limits if limits is not None else natural)
    try:
        # Opening reads the header only. The file is in memory, so that none stays open behind a lazy picture.
        picture = PILImage.open(BytesIO(_without_texts(content)), formats=_formats())
    except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning) as error:
        raise DataError(f"{too_large}, and PIL.Image.MAX_IMAGE_PIXELS") from error
    except PILImage.UnidentifiedImageError as error:
        raise DataError("not a picture that Pillow can read") from error
    except Exception as error:
        raise DataError(f"cannot open the picture: {error}") from error
    check(*picture.size)
    return picture


def to_8_bits(picture: PILImage.Image, limits: Range = None, kind: str | None = None) -> PILImage.Image:
    """Pictures of integers of 16 or 32 bits, or of floats -> of 8 bits; others as they are.

    Args:
        picture: Of any mode.
        limits: Values that are black and white. None: the full range of 16 bits, and 0 and 1 for floats.
        kind: Format of the file that the picture is a part of; its own if not given.

    Raises:
        DataError: The range is not given, and the file does not say it.
    """
    if not (picture.mode.startswith("I") or picture.mode == "F"):
        return picture
    values = np.asarray(picture)
    if picture.mode == "I" and (kind or picture.format) in ("PNG", "PPM"):  # as Pillow has their 16 bits
        values = values.astype(np.uint16)
    return from_array(values, limits)


def from_array(array: np.ndarray, limits: Range = None) -> PILImage.Image:
    """Values (H, W) or (H, W, 1 | 3 | 4) -> a picture; see ``to_8_bits``.

    Raises:
        DataError: It is no picture, or its range is not known.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or array.size == 0:
        raise DataError(f"an array of shape {array.shape} is not a picture: (height, width[, 1, 3 or 4]) is")
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.dtype.kind not in "iuf":
        raise DataError(f"an array of {array.dtype} is not a picture: integers or floats are")
    if array.dtype != np.uint8:
        low, high = _limits(array) if limits is None else limits
        values = (array.astype(np.float64) - low) * (255 / (high - low))
        if not np.isfinite(values).all():
            raise DataError("a number of the picture is not finite")
        array = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return PILImage.fromarray(array)


def _limits(array: np.ndarray) -> tuple[float, float]:
    if array.dtype.kind == "u":
        return 0, np.iinfo(array.dtype).max
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0, 1
    what = "floats outside [0, 1]" if array.dtype.kind == "f" else "signed integers"
    raise DataError(
        f"a picture of {what}, here from {low:g} to {high:g}: give the values that are black and white as "
        "range=(low, high)"
    )


def raster_suffixes() -> tuple[str, ...]:
    """Endings of the files of pixels that the installed Pillow opens."""
    return tuple(suffix for suffix, name in PILImage.registered_extensions().items() if name in _formats())


@cache
def _formats() -> list[str]:
    PILImage.init()
    return [name for name in _FORMATS if name in PILImage.OPEN]


def _without_texts(content: bytes) -> bytes:
    """A PNG without its texts, which may be of any length (editors and generators keep their history in them)."""
    if not content.startswith(_PNG):
        return content
    kept, start, first = [], len(_PNG), 0
    while start < len(content):
        size, name = int.from_bytes(content[start : start + 4], "big"), content[start + 4 : start + 8]
        end = start + 12 + size
        if name in _PNG_TEXTS and not content.startswith(_PNG_TURNS, start + 8):
            kept.append(content[first:start])
            first = end
        start = end
    return b"".join([*kept, content[first:]]) if kept else content
