"""Recordings: files of sound -> samples, by libsndfile, and by PyAV for what that does not read."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from polymodal.errors import DataError
from polymodal.modalities.base import read_file

MOST_RATE_HZ = 768_000
MOST_CHANNELS = 32
_PIPE = 0x7FFF0000
"""A program that writes to a pipe cannot know the size of what it writes, and puts 0, or the largest there is."""
_AV_FORMATS = {b"\xff\xf1": "aac", b"\xff\xf9": "aac", b"\x1aE\xdf\xa3": "matroska", b"0&\xb2u": "asf"}


def decode(raw: Path | bytes, max_seconds: float) -> tuple[np.ndarray, int]:
    """A file -> samples (T, channels) float32, and their rate in Hz; no more is decoded than has to be refused.

    Raises:
        DataError: It cannot be read, or is longer than ``max_seconds``.
    """
    try:
        with _open(raw) as sound:
            check(sound.samplerate, sound.channels)
            check_length(sound.frames / sound.samplerate if sound.frames < 1 << 62 else 0, max_seconds)
            return sound.read(
                int(max_seconds * sound.samplerate) + 1, dtype="float32", always_2d=True
            ), sound.samplerate
    except soundfile.LibsndfileError as error:
        content = read_file(raw) if isinstance(raw, Path) else raw
        if kind := _av_format(content[:12]):
            return _decode_by_av(content, kind, max_seconds)
        raise DataError(f"not readable as audio: {error.error_string}") from error
    except (OSError, RuntimeError, ValueError, TypeError, struct.error) as error:
        raise DataError(f"not readable as audio: {error}") from error


def seconds_of(raw: Path | bytes) -> float | None:
    """How long a file of sound is, by its header; None if that is not known."""
    try:
        with _open(raw) as sound:
            return sound.frames / sound.samplerate if sound.frames < 1 << 62 else None
    except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError, TypeError, struct.error, ZeroDivisionError):
        return None


def check(rate_hz: float, channels: int) -> None:
    """Refuse what no recording has, before memory is taken for it.

    Raises:
        DataError: The rate or the number of channels is out of range.
    """
    if not 0 < rate_hz <= MOST_RATE_HZ:
        raise DataError(f"sample rate {rate_hz:,} Hz; above 0, and at most {MOST_RATE_HZ:,}, are right")
    if not 1 <= channels <= MOST_CHANNELS:
        raise DataError(f"{channels} channels; 1 to {MOST_CHANNELS} are right")


def check_length(seconds: float, max_seconds: float) -> None:
    """Refuse what is too long.

    Raises:
        DataError: It is.
    """
    if seconds > max_seconds:
        raise DataError(f"{seconds:.2f} s long; at most max_seconds={max_seconds}")


def _open(raw: Path | bytes) -> soundfile.SoundFile:
    if isinstance(raw, Path):
        with raw.open("rb", buffering=0) as file:
            place = _unsized_data(file)
        if place is None:
            return soundfile.SoundFile(raw)
        raw = read_file(raw)
    else:
        place = _unsized_data(io.BytesIO(raw))
    if place is not None:
        size = len(raw) - place - 4
        raw = raw[:4] + struct.pack("<I", len(raw) - 8) + raw[8:place] + struct.pack("<I", size) + raw[place + 4 :]
    return soundfile.SoundFile(_File(raw))


class _File(io.BytesIO):
    """Bytes as a file, in which libsndfile may seek as a broken header says; an error there would be printed."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(max(0, offset) if whence == io.SEEK_SET else offset, whence)


def _unsized_data(file: io.RawIOBase | io.BytesIO) -> int | None:
    """Where a WAV that was written to a pipe has the size of its samples; None if that is right."""
    head = file.read(12) or b""
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    while len(chunk := file.read(8) or b"") == 8:
        (size,) = struct.unpack("<I", chunk[4:])
        if chunk[:4] == b"data":
            if 0 < size < _PIPE:
                return None
            place = file.tell() - 4
            rest = file.seek(0, io.SEEK_END) - place - 4
            return place if rest and not 0 < size <= rest else None
        file.seek(size + size % 2, io.SEEK_CUR)
    return None


def _av_format(head: bytes) -> str | None:
    """The format of FFmpeg that a file's first bytes are of; no other format is tried, since some open other files."""
    if head[4:8] == b"ftyp":
        return "mp4"
    return next((kind for magic, kind in _AV_FORMATS.items() if head.startswith(magic)), None)


def _decode_by_av(content: bytes, kind: str, max_seconds: float) -> tuple[np.ndarray, int]:
    try:
        import av
    except ImportError as error:
        raise DataError(
            "sound in M4A, MP4, AAC, WebM and WMA needs the package av: pip install 'polymodal[av]'"
        ) from error
    pieces: list[np.ndarray] = []
    try:
        with av.open(io.BytesIO(content), "r", format=kind) as container:
            stream: Any = next(iter(container.streams.audio), None)
            if stream is None:
                raise DataError("the file holds no sound")
            check(stream.rate, stream.channels)
            resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            length = 0
            for frame in container.decode(stream):  # type: ignore[union-attr]
                pieces += [piece.to_ndarray().T for piece in resampler.resample(frame)]
                length += frame.samples
                check_length(length / stream.rate, max_seconds)
            return np.concatenate(pieces) if pieces else np.empty((0, 1), np.float32), stream.rate
    except DataError:
        raise
    except Exception as error:  # FFmpeg's errors are of many kinds
        raise DataError(f"not readable as audio: {error}") from error
