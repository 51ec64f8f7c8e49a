"""Video: animations, films, arrays and lists of pictures <-> (channels, frames, height, width) in [-1, 1]."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image as PILImage
from torch import Tensor

from polymodal.errors import ConfigError, DataError, quote
from polymodal.files import write_file
from polymodal.modalities.animations import (
    ANIMATED,
    FILMED,
    READ_BY_AV,
    Frame,
    decode_frames,
    encode_animation,
    encode_film,
    known_suffix,
    length_of,
)
from polymodal.modalities.base import ColumnSample, Modality, read_file, usual_limit
from polymodal.modalities.html import data_address, picture_html
from polymodal.modalities.image import Image
from polymodal.types import Space

_SHORT_SECONDS = 2.0
"""Of a clip that is no burden, however short the others are."""
_USUAL_FRAMES = 32
"""As many frames as recognition gives a clip at most: longer ones have fewer per second."""
_LOOKED_AT = 16
"""Files of a column that are opened to see whether they move."""
_STRIP_FRAMES, _STRIP_SIDE = 8, 64
_PLAYER_SIDE = 192


@dataclass(frozen=True, eq=False)
class Clip:
    """Pictures that move.

    Attributes:
        frames: (T, height, width, 1 or 3) uint8.
        rate_hz: Frames per second.
    """

    frames: np.ndarray
    rate_hz: float

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.rate_hz

    @property
    def pictures(self) -> list[PILImage.Image]:
        """Each frame as a picture."""
        return [PILImage.fromarray(frame) for frame in self._coloured]

    @property
    def _coloured(self) -> np.ndarray:
        return np.repeat(self.frames, 3, axis=3) if self.frames.shape[3] == 1 else self.frames

    def __len__(self) -> int:
        return len(self.frames)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.frames, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        _, height, width, _ = self.frames.shape
        return f"Clip({len(self)} frames of {width} x {height} at {self.rate_hz:g} Hz)"

    def encode(self, suffix: str) -> bytes:
        """The bytes of a file of a kind such as ``.mp4`` or ``.gif``; WebP and PNG lose nothing.

        Raises:
            DataError: There is no such kind, or a film needs the package av.
        """
        suffix = known_suffix(f"clip{suffix}")
        if suffix in FILMED:
            return encode_film(self._coloured, self.rate_hz, suffix)
        if suffix == ".webp":
            return encode_animation(self._coloured, self.rate_hz, "WEBP", lossless=True)
        return encode_animation(self._coloured, self.rate_hz, "GIF" if suffix == ".gif" else "PNG")

    def save(self, path: str | Path) -> None:
        """Write a file in the format that its suffix names: .mp4, .webm, .mkv, .webp, .gif, .png ...

        Raises:
            DataError: There is no such format, or a film needs the package av.
        """
        write_file(Path(path), self.encode(known_suffix(path)))


class Video(Modality):
    """Clips of pictures of one size, in colour or grey, whose number of frames varies.

    Space: continuous (channels, frames, height, width) in [-1, 1]. Stored: (frames, channels, height, width), 8 bits.

    A clip of s seconds has s * ``rate_hz`` frames, each of which shows what is seen in the middle of its time. A frame
    of a GIF, WebP or APNG is seen for as long as its file says; films (MP4, WebM, MKV, AVI) need ``polymodal[video]``.
    A picture that does not move is one frame. Each frame is fitted as by ``Image``.

    Args:
        size: Side in pixels, or (height, width).
        frames: A clip with more is refused, never cut.
        rate_hz: Frames per second.
        channels: 3 for red, green and blue, 1 for grey.
        background: Colour behind transparent pixels and padding; any CSS name or ``#rrggbb``.
        fit: What to do with another aspect ratio: ``crop`` the middle, ``pad`` with the background, or ``stretch``.
        max_pixels: A frame that claims more is refused before it is decoded.

    Raises:
        ConfigError: An argument is out of range.
    """

    dtype = np.uint8
    suffix = ".webp"
    suffixes = (*ANIMATED, *READ_BY_AV)

    def __init__(
        self,
        size: int | Sequence[int] = 64,
        frames: int = 16,
        rate_hz: float = 8.0,
        channels: int = 3,
        background: str = "white",
        fit: str = "pad",
        max_pixels: int = 33_177_600,  # 7680 x 4320
    ) -> None:
        self._image = Image(size, channels, background, fit, max_pixels=max_pixels)
        if not isinstance(frames, int) or frames < 1:
            raise ConfigError(f"frames: {quote(frames)} is not a number of at least 1")
        if not isinstance(rate_hz, int | float) or not (isfinite(rate_hz) and 0 < rate_hz <= 1000):
            raise ConfigError(f"rate_hz: {quote(rate_hz)} is not above 0 and at most 1000")
        self.size, self.frames, self.rate_hz, self.channels = self._image.size, frames, float(rate_hz), channels
        self.background, self.fit, self.max_pixels = background, fit, max_pixels
        self.space = Space("continuous", (channels, frames, *self._image.space.grid), varies=1, bounds=(-1.0, 1.0))

    def read(self, raw: Any) -> np.ndarray:
        """Path, bytes, ``Clip``, pictures at ``rate_hz``, or (pictures, rate) -> the stored form.

        Pictures are an array (T, H, W, 1 | 3 | 4), or a list of what ``Image`` reads.
        """
        try:
            return self._read(raw)
        except (DataError, MemoryError):
            raise
        except Exception as error:  # decoders raise nearly every kind of error on broken files
            raise DataError(f"cannot decode the clip: {error}") from error

    def _read(self, raw: Any) -> np.ndarray:
        stored: list[np.ndarray] = []
        show = None
        for show, end in self._shown(raw):
            count = self._count(end) - len(stored)
            if count > 0:
                self._check(end)
                stored += [self._image.read(show())] * count
        if show is None:
            raise DataError("empty: no frames")
        return np.stack(stored or [self._image.read(show())])

    def to_model(self, stored: Tensor) -> Tensor:
        return self._image.to_model(stored.movedim(1, 2))

    def write(self, value: Tensor) -> Clip:
        pixels = value.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return Clip(np.ascontiguousarray(pixels.permute(1, 2, 3, 0).cpu().numpy()), self.rate_hz)

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Clips, arrays and lists of pictures, and files that move; as long as the longest."""
        step = -(-len(sample.cells) // _LOOKED_AT)
        looked_at = list(zip(sample.cells[::step], sample.files[::step], strict=True))
        lengths = [known for cell, file in looked_at if (known := cls._length(cell, file))]
        if not sample.mostly_files(READ_BY_AV) and 2 * len(lengths) <= len(looked_at):
            return None
        seconds = np.array([seconds for seconds, _ in lengths if seconds > 0])
        if not len(seconds):
            return cls()
        rate = min(8.0, float(np.median([rate for _, rate in lengths])) or 8.0)
        longest = usual_limit(seconds, _SHORT_SECONDS)
        if longest * rate > _USUAL_FRAMES:
            rate = _USUAL_FRAMES / longest
            sample.notes.append(
                f"rate_hz={rate:.3g} shows clips of up to {longest:.1f} s in {_USUAL_FRAMES} frames; more cost more"
            )
        found = cls(frames=max(1, ceil(longest * rate - 1e-6)), rate_hz=float(f"{rate:.4g}"))
        if outside := int((seconds > longest).sum()):
            sample.notes.append(
                f"frames={found.frames} hold all but {outside:,} of {len(seconds):,} clips that were looked at, which "
                f"would be missing; the longest has {seconds.max():.1f} s"
            )
        return found

    @classmethod
    def identity(cls, raw: Any) -> bytes:
        """Pictures in a list are named as by ``Image``."""
        return Image.identity(raw) if isinstance(raw, PILImage.Image) else super().identity(raw)

    def encode(self, thing: Clip) -> bytes:
        return thing.encode(self.suffix)

    def preview(self, thing: Clip) -> Markup:
        """The clip, playing, and frames of it side by side."""
        height, width = thing.frames.shape[1:3]
        scale = max(1, _PLAYER_SIDE // max(height, width))
        address = data_address("image/webp", encode_animation(thing._coloured, thing.rate_hz, "WEBP", quality=90))
        player = Markup('<img alt="" width="{}" height="{}" src="{}">').format(scale * width, scale * height, address)
        return Markup('<span class="clip">{}{}</span>').format(player, picture_html(film_strip(thing)))

    def thumbnail(self, thing: Clip, side: int) -> PILImage.Image:
        """Four moments in reading order, or the first where there are fewer frames."""
        pictures = thing.pictures
        if len(pictures) < 4 or side < 2:
            return self._image.thumbnail(pictures[0], side)
        width, height = pictures[0].size
        canvas = PILImage.new("RGB", (2 * width, 2 * height))
        for place, moment in enumerate(np.linspace(0, len(pictures) - 1, 4).round().astype(int)):
            canvas.paste(pictures[moment], (place % 2 * width, place // 2 * height))
        return self._image.thumbnail(canvas, side)

    def _shown(self, raw: Any) -> Iterator[Frame]:
        """The frames of a raw value, and the second until which each is shown."""
        rate = self.rate_hz
        if isinstance(raw, Path | bytes):
            height, width = self.space.grid[1:]
            content = read_file(raw) if isinstance(raw, Path) else raw
            return decode_frames(content, self.max_pixels, (width, height), self._check)
        if isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[1], int | float):
            raw, rate = raw
        if isinstance(raw, Clip):
            raw, rate = raw.frames, raw.rate_hz
        if not (isfinite(rate) and rate > 0):
            raise DataError(f"{rate} frames per second; above 0 is right")
        if isinstance(raw, np.ndarray):
            if raw.ndim != 4 or raw.shape[3] not in (1, 3, 4):
                raise DataError(f"an array of shape {raw.shape} is not a video: (frames, height, width, 1, 3 or 4) is")
        elif not isinstance(raw, list | tuple):
            raise DataError(
                f"a {type(raw).__name__} is not a video; give a path, bytes, an array or a list of pictures"
            )
        self._check(len(raw) / rate)
        return ((_constant(picture), (place + 1) / rate) for place, picture in enumerate(raw))

    def _count(self, seconds: float) -> int:
        """Frames whose middle lies within the first seconds."""
        return ceil(seconds * self.rate_hz - 0.5 - 1e-6)

    def _check(self, seconds: float) -> None:
        if self._count(seconds) > self.frames:
            raise DataError(
                f"{seconds:.2f} s long; at most {self.frames / self.rate_hz:g} s, which are frames={self.frames} at "
                f"rate_hz={self.rate_hz:g}"
            )

    @staticmethod
    def _length(cell: Any, file: Path | bytes | None) -> tuple[float, float] | None:
        """Seconds and frames per second of what seems to be a clip; no seconds where its rate is not known."""
        if isinstance(cell, Clip):
            return cell.seconds, cell.rate_hz
        if isinstance(cell, np.ndarray) and cell.ndim == 4 and cell.shape[3] in (1, 3, 4) and cell.dtype == np.uint8:
            return len(cell) / 8, 8.0
        if isinstance(cell, list | tuple) and cell and all(isinstance(one, PILImage.Image) for one in cell):
            return len(cell) / 8, 8.0
        return None if file is None else length_of(file)


def film_strip(clip: Clip, frames: int = _STRIP_FRAMES) -> PILImage.Image:
    """Frames of a clip, evenly spread, side by side."""
    pictures = clip.pictures
    moments = np.linspace(0, len(pictures) - 1, min(frames, len(pictures))).round().astype(int)
    width, height = pictures[0].size
    shrink = min(1.0, _STRIP_SIDE / max(width, height))
    width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
    strip = PILImage.new("RGB", (len(moments) * (width + 1) - 1, height), "white")
    for place, moment in enumerate(moments):
        strip.paste(pictures[moment].resize((width, height)), (place * (width + 1), 0))
    return strip


def _constant(picture: Any) -> Callable[[], Any]:
    return lambda: picture


__all__ = ["Clip", "Video", "film_strip"]
