"""Audio: any file that libsndfile or PyAV reads <-> a log-mel spectrogram, or its samples in frames."""

import io
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import soundfile
import soxr
import torch
from markupsafe import Markup
from PIL import Image as PILImage
from torch import Tensor, nn

from polymodal.errors import ConfigError, DataError
from polymodal.files import write_file
from polymodal.modalities.base import ColumnSample, Modality, usual_limit
from polymodal.modalities.html import data_address
from polymodal.modalities.mel import MelTransform
from polymodal.modalities.recordings import check, check_length, decode, seconds_of
from polymodal.modalities.text import shown
from polymodal.nn.random import make_keys
from polymodal.types import Field, Space

# Brings speech at usual loudness to 0.4 +- 0.75: digital silence becomes -2.3, a loud vowel +2.
LOG_MEL_MEAN = -5.5
LOG_MEL_SCALE = 2.6
_LOUDEST = 100.0
"""Of a sample, of which full scale is 1; more is a mistake of scale, and would be a burden to all other clips."""
_MOST_N_FFT, _MOST_MELS = 1 << 16, 1 << 10
_MAGIC = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"FORM", b".snd", b"caff")
"""How files of sound begin."""
_SHORT_SECONDS = 2.0
"""Of a clip that is no burden, however short the others are."""
_LOUDEST_BAND = 20.0
"""Natural logarithm of a magnitude that no sound has, and whose square is a number yet."""
_WAVE_BARS = 64
"""Of the drawing of a sound on a page."""


@dataclass(frozen=True, eq=False)
class Waveform:
    """Sound of one channel.

    Attributes:
        samples: (T,) float32, in [-1, 1] where it is not to be clipped.
        sample_rate_hz: Samples per second.
    """

    samples: np.ndarray
    sample_rate_hz: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate_hz

    def __len__(self) -> int:
        return len(self.samples)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.samples, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"Waveform({self.seconds:.2f} s at {self.sample_rate_hz} Hz)"

    def save(self, path: str | Path) -> None:
        """Write a file in the format that its suffix names: .wav, .flac, .ogg, .mp3 ...

        Raises:
            DataError: libsndfile writes no such format.
        """
        suffix = Path(path).suffix
        known = soundfile.available_formats()
        if suffix[1:].upper() not in known:
            endings = ", ".join(f".{name.lower()}" for name in sorted(known))
            raise DataError(f"{path}: cannot write audio as '{suffix}'; write one of {endings}")
        write_file(Path(path), _encode(self, suffix[1:].upper()))


class Audio(Modality):
    """Sound as a standardised log-mel spectrogram (mels, frames), or as its samples (hop_length, frames).

    A clip of s seconds has ceil(s * sample_rate_hz / hop_length) frames.

    Args:
        sample_rate_hz: Everything is resampled to it.
        max_seconds: A longer clip is refused, never cut.
        mels: Number of mel bands.
        hop_length: Samples from one frame to the next.
        n_fft: Samples that a frame covers.
        f_min_hz: Lower end of the bands.
        f_max_hz: Upper end of the bands; None for half the sample rate.
        form: What the model is given: the ``spectrogram``, which tells no phases, or the ``samples`` themselves, cut
            into frames and with zeros at the end, as a codec of sound needs them.

    Attributes:
        transform: Samples <-> log-mels, before they are standardised.
        vocoder: Standardised log-mels (B, mels, L) -> samples (B, L * hop_length), as ``with_vocoder`` set it; None:
            Griffin and Lim's algorithm.

    Raises:
        ConfigError: A setting is out of range.
    """

    transform: MelTransform
    dtype = np.float16
    suffix = ".wav"
    suffixes = (
        *(f".{name.lower()}" for name in soundfile.available_formats() if name not in ("RAW", "MAT4", "MAT5")),
        *(".oga", ".opus", ".aif", ".aifc", ".snd", ".sph"),
        *(".m4a", ".aac", ".mp4a", ".weba", ".wma"),  # with PyAV
    )

    def __init__(
        self,
        sample_rate_hz: int = 16_000,
        max_seconds: float = 2.0,
        mels: int = 80,
        hop_length: int = 256,
        n_fft: int = 1024,
        f_min_hz: float = 0.0,
        f_max_hz: float | None = None,
        form: Literal["spectrogram", "samples"] = "spectrogram",
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.max_seconds = max_seconds
        self.mels = mels
        self.hop_length = hop_length
        self.n_fft = n_fft
        self.f_min_hz = f_min_hz
        self.f_max_hz = f_max_hz
        self.form = form
        top = sample_rate_hz / 2 if f_max_hz is None else f_max_hz
        if sample_rate_hz < 1:
            raise ConfigError(f"audio: sample_rate_hz={sample_rate_hz}; must be at least 1")
        if max_seconds <= 0:
            raise ConfigError(f"audio: max_seconds={max_seconds}; must be above 0")
        if not 1 <= hop_length <= n_fft or n_fft % 2:
            raise ConfigError(
                f"audio: hop_length={hop_length}, n_fft={n_fft}; n_fft must be even, hop_length 1 to n_fft"
            )
        if not 0 <= f_min_hz < top <= sample_rate_hz / 2:
            raise ConfigError(
                f"audio: f_min_hz={f_min_hz}, f_max_hz={top}; both within 0 and {sample_rate_hz / 2} Hz, in this order"
            )
        if n_fft > _MOST_N_FFT:
            raise ConfigError(f"audio: n_fft={n_fft}; at most {_MOST_N_FFT}")
        if not 1 <= mels <= min(n_fft // 2, _MOST_MELS):
            raise ConfigError(f"audio: mels={mels}; from 1 to n_fft / 2 = {n_fft // 2}, and at most {_MOST_MELS}")
        self.transform = MelTransform(
            sample_rate_hz=sample_rate_hz,
            n_fft=n_fft,
            hop_length=hop_length,
            mels=mels,
            f_min_hz=f_min_hz,
            f_max_hz=top,
        )
        frames = self.transform.stft.frames(round(max_seconds * sample_rate_hz))
        self.waveform_hz = sample_rate_hz if form == "samples" else None
        self.space = Space("continuous", (hop_length if form == "samples" else mels, frames), varies=1)
        self.vocoder: Callable[[Tensor], Tensor] | None = None

    def read(self, raw: Any) -> np.ndarray:
        """Path, bytes, ``Waveform``, (samples, rate) or samples at ``sample_rate_hz`` -> (frames, channels) float16.

        ``{"array": samples, "sampling_rate": rate}`` is right as well.

        Samples are (T,) or, as soundfile has them, (T, channels); channels are averaged. Integers are scaled to
        [-1, 1] by their type's range.
        """
        samples = self.samples(raw)
        if self.form == "samples":
            return np.pad(samples, (0, -len(samples) % self.hop_length)).reshape(-1, self.hop_length).astype(np.float16)
        with torch.inference_mode():
            log_mel = self.transform.log_mel(torch.from_numpy(samples)[None])[0]
            return ((log_mel.T - LOG_MEL_MEAN) / LOG_MEL_SCALE).to(torch.float16).numpy()

    def samples(self, raw: Any) -> np.ndarray:
        """Raw -> the sound itself (T,), float32 at ``sample_rate_hz``.

        Raises:
            DataError: It is no sound, or one that is too long.
        """
        if isinstance(raw, dict) and {"array", "sampling_rate"} <= raw.keys():  # as libraries give decoded sound
            raw = _decoded(raw["array"], raw["sampling_rate"])
        if isinstance(raw, bytes | Path):
            samples, rate = decode(raw, self.max_seconds)
        elif isinstance(raw, Waveform):
            samples, rate = np.asarray(raw.samples), raw.sample_rate_hz
        elif isinstance(raw, np.ndarray):
            samples, rate = raw, self.sample_rate_hz
        elif isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[0], np.ndarray):
            samples, rate = raw
        else:
            raise DataError(f"not audio: {type(raw).__name__}; give a path, bytes, an array or (array, rate)")
        if samples.ndim not in (1, 2):
            raise DataError(f"samples of shape {samples.shape}; must be (samples,) or (samples, channels)")
        if not isinstance(rate, int | float | np.integer | np.floating):
            raise DataError(f"sample rate {shown(rate)}; must be a number")
        check(rate, 1 if samples.ndim == 1 else samples.shape[1])
        if len(samples) == 0:
            raise DataError("empty: no samples")
        check_length(len(samples) / rate, self.max_seconds)
        if np.issubdtype(samples.dtype, np.signedinteger):
            samples = samples / (np.iinfo(samples.dtype).max + 1.0)
        elif not np.issubdtype(samples.dtype, np.floating):
            raise DataError(f"samples of type {samples.dtype}; must be floating or signed integers")
        if not np.isfinite(peak := max(-samples.min(), samples.max())):
            raise DataError("not a number or infinite among the samples")
        if peak > _LOUDEST:
            raise DataError(f"samples as loud as {peak:g}; full scale is 1, and at most {_LOUDEST:g} are read")
        samples = np.asarray(samples, np.float32)
        if samples.ndim == 2:
            samples = samples.mean(1) if samples.shape[1] > 1 else samples[:, 0]
        samples = np.ascontiguousarray(samples)
        if rate != self.sample_rate_hz:
            samples = soxr.resample(samples, rate, self.sample_rate_hz)
        if not len(samples):
            raise DataError(f"so short that no sample is left at {self.sample_rate_hz:,} Hz")
        return samples

    def to_model(self, stored: Tensor) -> Tensor:
        """(B, L, channels) -> (B, channels, L) float32."""
        return stored.mT.float()

    def write(self, value: Tensor) -> Waveform:
        """(channels, L) -> sound of L * hop_length samples; of a spectrogram by the vocoder or Griffin-Lim.

        It is always the same sound, and no longer than ``max_seconds``, though the last frame may be.
        """
        with torch.inference_mode():
            if self.form == "samples":
                samples = value.mT.flatten().float().cpu().numpy()
            else:
                mel = value[None].float().clamp(max=(_LOUDEST_BAND - LOG_MEL_MEAN) / LOG_MEL_SCALE)
                samples = (self.vocoder or self._griffin_lim)(mel)[0].cpu().numpy()
        samples = np.nan_to_num(samples[: int(self.max_seconds * self.sample_rate_hz)], posinf=0.0, neginf=0.0)
        return Waveform(samples / max(1.0, np.abs(samples).max(initial=0.0)), self.sample_rate_hz)

    def spectrogram(self, field: Field) -> Field:
        """Values in model form -> their standardised log-mels (B, mels, L), which they are in the form of that name."""
        if self.form == "spectrogram":
            return field
        log_mel = self.transform.log_mel((field.value * field.real).mT.flatten(1).cpu()).to(field.value.device)
        return field.with_value((log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE)

    def portable(self) -> dict[str, Any]:
        if self.form == "samples":
            return super().portable()
        names = ("sample_rate_hz", "mels", "hop_length", "n_fft", "f_min_hz")
        top = self.sample_rate_hz / 2 if self.f_max_hz is None else self.f_max_hz
        kept = {name: getattr(self, name) for name in names}
        kept["most_samples"] = int(self.max_seconds * self.sample_rate_hz)
        return {"form": "sound", **kept, "f_max_hz": top, "mel_mean": LOG_MEL_MEAN, "mel_scale": LOG_MEL_SCALE}

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Sound in memory, and files that are sound by their endings or their first bytes; as long as the longest."""
        if not (sample.mostly(Waveform) or sample.mostly_files(cls.suffixes) or cls._by_content(sample)):
            return None
        known = [cls._seconds(cell, file) for cell, file in zip(sample.cells, sample.files, strict=True)]
        lengths = np.array([seconds for seconds in known if seconds])
        if not len(lengths):
            return cls()
        longest = usual_limit(lengths, _SHORT_SECONDS)
        found = cls(max_seconds=max(0.5, ceil(2 * longest) / 2))
        if outside := int((lengths > found.max_seconds).sum()):
            sample.notes.append(
                f"max_seconds={found.max_seconds:g} holds all but {outside:,} of {len(lengths):,} clips that were "
                f"looked at, which would be missing; the longest has {lengths.max():.1f} s"
            )
        return found

    @staticmethod
    def _by_content(sample: ColumnSample) -> bool:
        sounds = [
            (isinstance(file, bytes) and file.startswith(_MAGIC) and b"WEBP" not in file[:16])
            or (isinstance(cell, dict) and {"array", "sampling_rate"} <= cell.keys())
            or (isinstance(cell, tuple) and len(cell) == 2 and isinstance(cell[0], np.ndarray))
            for cell, file in zip(sample.cells, sample.files, strict=True)
        ]
        return 2 * sum(sounds) > len(sounds)

    @staticmethod
    def _seconds(cell: Any, file: Any) -> float | None:
        with suppress(DataError, TypeError, ValueError, ZeroDivisionError):
            if isinstance(cell, dict) and "array" in cell:
                cell = _decoded(cell["array"], cell["sampling_rate"])
            if isinstance(cell, tuple):
                cell = Waveform(*cell)
            if isinstance(cell, Waveform):
                return cell.seconds
        return seconds_of(file) if isinstance(file, Path | bytes) else None

    def encode(self, thing: Waveform) -> bytes:
        return _encode(thing, "WAV")

    def preview(self, thing: Waveform) -> Markup:
        """The loudness over time, drawn, and a player."""
        pieces = np.array_split(np.clip(thing.samples, -1, 1), _WAVE_BARS)
        heights = [round(19 * float(np.abs(piece).max(initial=0)), 1) + 0.5 for piece in pieces]
        bars = "".join(f"M{2 * i + 1} {20 - height:.1f}v{2 * height:.1f}" for i, height in enumerate(heights))
        wave = Markup('<svg viewBox="0 0 {} 40" aria-hidden="true"><path d="{}"/></svg>').format(2 * _WAVE_BARS, bars)
        kind = "flac" if len(thing) else "wav"  # half as long, and every browser plays it; but it cannot be empty
        address = data_address(f"audio/{kind}", _encode(thing, kind))
        player = Markup('<audio controls preload="none" src="{}"></audio>').format(address)
        return Markup('<span class="sound">{}{}</span>').format(wave, player)

    def thumbnail(self, thing: Waveform, side: int) -> PILImage.Image | None:
        """The spectrogram: low bands below, bright where loud."""
        if not len(thing):
            return None
        with torch.inference_mode():
            bands = self.transform.log_mel(torch.from_numpy(thing.samples)[None].float())[0].flip(0)
        span = (bands.max() - bands.min()).clamp(min=1e-6)
        grey = ((bands - bands.min()) / span * 255).to(torch.uint8).numpy()
        return PILImage.fromarray(grey).convert("RGB").resize((side, side))

    def with_vocoder(self, vocoder: nn.Module) -> Self:
        if self.form == "samples":
            return super().with_vocoder(vocoder)
        voiced = copy(self)
        voiced.vocoder = vocoder
        return voiced

    def _griffin_lim(self, mel: Tensor) -> Tensor:
        magnitudes = self.transform.magnitudes(mel.cpu() * LOG_MEL_SCALE + LOG_MEL_MEAN)
        return self.transform.griffin_lim(magnitudes, make_keys(0, len(mel)))


def _encode(sound: Waveform, kind: str) -> bytes:
    """A file in a format of libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(sound.samples, -1.0, 1.0), sound.sample_rate_hz, format=kind)
    return file.getvalue()


def _decoded(samples: Any, rate: Any) -> Waveform:
    """A sound that a library has decoded; (channels, samples) is turned to (samples, channels)."""
    try:
        with np.errstate(over="ignore"):  # what is beyond 32 bits becomes infinite, which ``read`` refuses
            samples = samples if isinstance(samples, np.ndarray) else np.asarray(samples, dtype=np.float32)
        sound = Waveform(samples, int(rate))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"not audio: {error}") from error
    turned = samples.ndim == 2 and samples.shape[0] < samples.shape[1]
    return Waveform(samples.T, sound.sample_rate_hz) if turned else sound
