"""Pictures and sound as requests bring them and answers take them."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile
import soxr
from PIL import Image as PILImage
from PIL import ImageOps

from polymodal.modalities.audio import Waveform
from polymodal.serving.errors import ApiError

Fetch = Callable[[str, str], bytes]
"""A URL and the parameter that it is of -> what is there."""
PICTURES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""Types by the name of a picture's format."""
SOUNDS = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""Types by the name of a sound's format."""
PCM_RATE_HZ = 24_000
"""Of the format ``pcm``, which has no header: 16 bits, the low byte first."""
CODED_RATES_HZ = (8000, 12_000, 16_000, 24_000, 48_000)
"""That all of the formats that lose something can have."""
MOST_SIDE = 2048
"""Of a picture that is enlarged."""


def picture_bytes(picture: PILImage.Image, kind: str, size: str | None = None, quality: int = 95) -> bytes:
    """A picture as a file.

    Args:
        picture: As the run draws it.
        kind: A key of ``PICTURES``.
        size: ``auto`` or None for the run's own, else WIDTHxHEIGHT, to which it is enlarged, with a margin where the
            proportions differ.
        quality: Of JPEG and WebP, up to 100.

    Raises:
        ApiError: The size is none.
    """
    if size not in (None, "auto"):
        wide, x, high = str(size).partition("x")
        if not (x and all(side.isdecimal() and 1 <= int(side[:9]) <= MOST_SIDE for side in (wide, high))):
            raise ApiError(400, f"size: '{size}'; auto or WIDTHxHEIGHT up to {MOST_SIDE} are right", param="size")
        picture = ImageOps.pad(picture.convert("RGB"), (int(wide), int(high)), PILImage.Resampling.LANCZOS, "white")
    file = io.BytesIO()
    shown = picture if kind == "png" or picture.mode == "RGB" else picture.convert("RGB")
    shown.save(file, kind, **({} if kind == "png" else {"quality": quality}))
    return file.getvalue()


def sound_bytes(sound: Waveform, kind: str, speed: float = 1.0) -> bytes:
    """A sound as a file.

    Args:
        sound: Any.
        kind: A key of ``SOUNDS``.
        speed: By which it is shortened, its pitch the same.

    Raises:
        ApiError: PyAV is needed, and not there.
    """
    samples, rate = np.clip(sound.samples, -1.0, 1.0), sound.sample_rate_hz
    if speed != 1:
        samples = _stretch(samples, rate, speed)
    if kind == "pcm":
        return (soxr.resample(samples, rate, PCM_RATE_HZ).clip(-1, 1) * 32767).astype("<i2").tobytes()
    if kind in ("opus", "mp3", "aac") and rate not in CODED_RATES_HZ:
        samples, rate = soxr.resample(samples, rate, PCM_RATE_HZ), PCM_RATE_HZ
    if kind == "aac":
        return _encode_by_av(samples, rate)
    file = io.BytesIO()
    form = {"opus": {"format": "OGG", "subtype": "OPUS"}, "wav": {"format": "WAV", "subtype": "PCM_16"}}
    soundfile.write(file, samples, rate, **form.get(kind, {"format": kind.upper()}))
    return file.getvalue()


def data_url(kind: str, content: bytes) -> str:
    """Bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def from_url(url: str, param: str, fetch: Fetch | None = None) -> bytes:
    """The bytes of a data URL, or of what ``fetch`` gets from another one.

    Raises:
        ApiError: It is no data URL, and nothing else is read.
    """
    head, comma, body = url.partition(",")
    if fetch is not None and not url.startswith("data:"):
        return fetch(url, param)
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise ApiError(400, f"{param}: only data URLs are read, data:image/png;base64,...", param=param)
    return from_base64(body, param)


def from_base64(text: str, param: str) -> bytes:
    """The bytes that a text holds.

    Raises:
        ApiError: It is not in base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"{param}: is not in base64", param=param) from None


def _stretch(samples: np.ndarray, rate: int, speed: float) -> np.ndarray:
    """The same sound in other time: FFmpeg's ``atempo``."""
    av = _av()
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=f"1/{rate}")
    sink, before = graph.add("abuffersink"), source
    while speed < 0.5:  # one filter takes no less
        half = graph.add("atempo", "0.5")
        before.link_to(half)
        before, speed = half, speed / 0.5
    last = graph.add("atempo", str(speed))
    before.link_to(last)
    last.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    source.push(frame)
    source.push(None)
    parts: list[np.ndarray] = []
    while True:
        try:
            parts.append(sink.pull().to_ndarray()[0])
        except (av.error.BlockingIOError, av.error.EOFError):
            return np.concatenate(parts) if parts else samples[:0]


def _encode_by_av(samples: np.ndarray, rate: int) -> bytes:
    """AAC in ADTS frames."""
    av, file = _av(), io.BytesIO()
    with av.open(file, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise ApiError(400, "AAC and other speeds than 1 need the server's package `av`", param="speed") from None
    return av
