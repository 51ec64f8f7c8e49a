"""Animations and films: files -> frames and how long each is shown, by Pillow, or by PyAV where Pillow cannot.

How long an animation is, and how many frames it has, is read from its container before any frame is decoded.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image as PILImage

from polymodal.errors import DataError
from polymodal.modalities.base import Modality
from polymodal.modalities.pixels import open_picture

ANIMATED = (".gif", ".webp", ".apng", ".png")
"""Endings of files of pictures, of which some move."""
FILMED = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9", ".m4v": "libx264"}
"""Endings of films, which PyAV reads, and the codec that it writes them with."""
READ_BY_AV = (*FILMED, ".avi")

Frame = tuple[Callable[[], PILImage.Image], float]
"""What gives a picture, and the second until which it is shown."""

_PNG = b"\x89PNG\r\n\x1a\n"
_SHORTEST_MS = 10
"""Browsers show a frame that claims to be this short, or shorter, for as long as they do one of ``_USUAL_MS``."""
_USUAL_MS = 100
_MOST_FRAMES = 1 << 16
_NEEDS_AV = "films in MP4, WebM and MKV need the package av: pip install 'polymodal[video]'"


def durations_of(content: bytes) -> list[int]:
    """Milliseconds of each frame of an animated GIF, WebP or PNG, as browsers show it; empty if a file does not move.

    Nothing is decoded.
    """
    found: list[int] = []
    with suppress(IndexError, ZeroDivisionError):  # a file that is cut short
        if content[:4] == b"GIF8":
            found = list(_of_gif(content))
        elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            found = [
                int.from_bytes(content[place + 12 : place + 15], "little")
                for name, place in _chunks(content, 12, "little")
                if name == b"ANMF"
            ]
        elif content.startswith(_PNG):
            found = [
                round(1000 * _number(content, place + 20) / (_number(content, place + 22) or 100))
                for name, place in _chunks(content, 8, "big")
                if name == b"fcTL"
            ]
    return [_USUAL_MS if duration <= _SHORTEST_MS else duration for duration in found]


def length_of(raw: Path | bytes) -> tuple[float, float] | None:
    """Seconds and frames per second of an animation or a film, by its header; None if neither, or it does not say.

    Of a film, no more than its header is read.
    """
    try:
        with raw.open("rb") if isinstance(raw, Path) else io.BytesIO(raw) as file:
            kind = film_format(file.read(16))
            file.seek(0)
            return _length_of_film(file, kind) if kind else _length_of_animation(file)
    except OSError:
        return None


def _length_of_animation(file: BinaryIO) -> tuple[float, float] | None:
    durations = durations_of(file.read(Modality.most_bytes))
    seconds = sum(durations) / 1000
    return (seconds, len(durations) / seconds) if len(durations) > 1 else None


def _length_of_film(file: BinaryIO, kind: str) -> tuple[float, float] | None:
    try:
        import av

        with av.open(file, format=kind) as container:
            stream = _film(container)
            claimed = _seconds(container, stream)
            return None if claimed is None else (claimed, float(stream.average_rate or stream.guessed_rate or 0))
    except Exception:  # FFmpeg's errors are of many kinds, and all mean that nothing is known
        return None


def film_format(head: bytes) -> str | None:
    """The format of FFmpeg that a film's first bytes are of; no other is tried, since some open other files."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    return "avi" if head[:4] == b"RIFF" and head[8:12] == b"AVI " else None


def decode_frames(
    content: bytes, max_pixels: int, size: tuple[int, int], check: Callable[[float], None]
) -> Iterator[Frame]:
    """The frames of a file, one at a time; a picture that does not move is one frame, shown for no time.

    Args:
        content: Content of the file.
        max_pixels: A frame that claims more is refused before it is decoded.
        size: (width, height) that a drawing is drawn to fit.
        check: Refuses a number of seconds; called with what the file claims, before anything is decoded.

    Raises:
        DataError: It cannot be read.
    """
    kind = film_format(content[:16])
    frames = _of_film(content, kind, max_pixels, check) if kind else _of_animation(content, max_pixels, size, check)
    for number, frame in enumerate(frames):
        if number == _MOST_FRAMES:
            raise DataError(f"more than {_MOST_FRAMES:,} frames")
        yield frame


def encode_animation(frames: np.ndarray, rate_hz: float, kind: str, **options: Any) -> bytes:
    """Frames (T, H, W, 3) as a file that repeats for ever.

    Args:
        frames: In 8 bits.
        rate_hz: Frames per second.
        kind: ``WEBP``, ``GIF`` or ``PNG``, as Pillow names it.
        options: Of Pillow's encoder.
    """
    step = 10 if kind == "GIF" else 1  # milliseconds of its clock
    ends = [step * round(1000 * (place + 1) / rate_hz / step) for place in range(len(frames))]
    # Encoders may join equal frames, and drop the duration where one is left.
    runs = [list(run) for _, run in groupby(range(len(frames)), key=lambda place: frames[place].tobytes())]
    pictures = [PILImage.fromarray(frames[run[0]]) for run in runs]
    durations = [after - before for before, after in pairwise([0, *(ends[run[-1]] for run in runs)])]
    file = io.BytesIO()
    more = {} if len(pictures) == 1 else {"save_all": True, "append_images": pictures[1:]}
    pictures[0].save(file, kind, duration=durations if more else durations[0], loop=0, **more, **options)
    content = file.getvalue()
    return _one_frame(content, *pictures[0].size, durations[0]) if kind == "WEBP" and not more else content


def encode_film(frames: np.ndarray, rate_hz: float, suffix: str) -> bytes:
    """Frames (T, H, W, 3) in 8 bits as a film; sides of odd length repeat their last pixels, as its colours need.

    Raises:
        DataError: The package av is missing.
    """
    try:
        import av
    except ImportError as error:
        raise DataError(_NEEDS_AV) from error
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    file = io.BytesIO()
    kind = {".mkv": "matroska", ".m4v": "mp4"}.get(suffix, suffix[1:])
    with av.open(file, "w", format=kind) as container:
        stream: Any = container.add_stream(FILMED[suffix], rate=Fraction(rate_hz).limit_denominator(100_000))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.options = {"crf": "18"} if "264" in FILMED[suffix] else {"crf": "20", "b:v": "0", "cpu-used": "4"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def _of_animation(
    content: bytes, max_pixels: int, size: tuple[int, int], check: Callable[[float], None]
) -> Iterator[Frame]:
    durations: Sequence[int] = durations_of(content)
    check(sum(durations) / 1000)
    picture = open_picture(content, max_pixels, size)
    first = int(getattr(picture, "default_image", False))  # of an APNG, for programs that show no other
    for place, end in enumerate(accumulate(durations or [0])):
        try:
            if place + first:
                picture.seek(place + first)
        except EOFError:  # cut short
            return
        if picture.width * picture.height > max_pixels:  # a GIF may grow
            raise DataError(f"a frame is over {max_pixels:,} pixels; max_pixels can be set higher")
        yield picture.copy, end / 1000


def _of_film(content: bytes, kind: str, max_pixels: int, check: Callable[[float], None]) -> Iterator[Frame]:
    try:
        import av
    except ImportError as error:
        raise DataError(_NEEDS_AV) from error
    try:
        container: Any
        with av.open(io.BytesIO(content), format=kind) as container:
            stream = _film(container)
            width, height = stream.codec_context.width, stream.codec_context.height
            if width * height > max_pixels:
                raise DataError(
                    f"the film is over {max_pixels:,} pixels; max_pixels can be set higher: {width} x {height}"
                )
            if (seconds := _seconds(container, stream)) is not None:
                check(seconds)
            usual = 1 / float(stream.average_rate or stream.guessed_rate or 25)
            before: Any = None
            first = start = 0.0
            for frame in container.decode(stream):
                time = frame.time if frame.time is not None else start + usual
                if before is None:
                    first = time
                else:
                    yield _upright(before), time - first
                before, start = frame, time
            if before is not None:
                last = float(before.duration * before.time_base) if before.duration and before.time_base else usual
                yield _upright(before), start - first + last
    except DataError:
        raise
    except Exception as error:  # FFmpeg's errors are of many kinds
        raise DataError(f"not readable as video: {error}") from error


def _film(container: Any) -> Any:
    """The stream of pictures that move, of which a file of sound has none."""
    import av

    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise DataError("the file holds no film")


def _seconds(container: Any, stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _upright(frame: Any) -> Callable[[], PILImage.Image]:
    """What gives a frame as it is to be seen: turned as a telephone was held, its pixels square."""

    def show() -> PILImage.Image:
        picture = frame.to_image()
        ratio = getattr(frame, "sample_aspect_ratio", None)
        if ratio and ratio != 1:
            picture = picture.resize((max(1, round(picture.width * float(ratio))), picture.height))
        return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture

    return show


def _of_gif(content: bytes) -> Iterator[int]:
    """Milliseconds of each frame; blocks are passed over."""

    def colours(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    place, duration = 13 + colours(content[10]), 0
    while content[place] in (0x21, 0x2C):
        if content[place] == 0x2C:
            yield duration
            place += 11 + colours(content[place + 9])
        else:
            if content[place + 1] == 0xF9:
                duration = 10 * int.from_bytes(content[place + 4 : place + 6], "little")
            place += 2
        while content[place]:
            place += content[place] + 1
        place += 1


def _chunks(content: bytes, place: int, order: Any) -> Iterator[tuple[bytes, int]]:
    """Name and first byte of each chunk of a PNG (``big``) or a RIFF (``little``)."""
    while place + 8 <= len(content):
        one, other = content[place : place + 4], content[place + 4 : place + 8]
        size, name = (one, other) if order == "big" else (other, one)
        yield name, place + 8
        length = int.from_bytes(size, order)
        place += 8 + (length + 4 if order == "big" else length + length % 2)


def _number(content: bytes, place: int) -> int:
    return int.from_bytes(content[place : place + 2], "big")


def _one_frame(still: bytes, width: int, height: int, milliseconds: int) -> bytes:
    """A WebP that does not move as an animation of one frame, which has a duration.

    Source: the WebP container specification, "Extended file format".
    """

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + len(body).to_bytes(4, "little") + body

    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = bytes(6) + sides + milliseconds.to_bytes(3, "little") + b"\x02" + still[12:]
    body = chunk(b"VP8X", b"\x02" + bytes(3) + sides) + chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", frame)
    return chunk(b"RIFF", b"WEBP" + body)


def known_suffix(path: str | Path) -> str:
    """The ending of a file's name, lower case with the dot, of a kind that a clip is written as.

    Raises:
        DataError: It is of no such kind.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (*ANIMATED, *FILMED):
        raise DataError(f"{path}: cannot write a clip as '{suffix}'; write one of {', '.join((*FILMED, *ANIMATED))}")
    return suffix
