"""Series: what sensors measure over time, in any number of channels, at an even rate."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image as PILImage
from PIL import ImageDraw
from torch import Tensor

from polymodal.errors import ConfigError, DataError, quote
from polymodal.modalities.base import ColumnSample, Modality, usual_limit
from polymodal.modalities.moments import Moments, given_moments
from polymodal.modalities.numbers import parse_vector
from polymodal.modalities.recordings import check_length
from polymodal.modalities.text import shown
from polymodal.modalities.traces import MOST_RATE_HZ, Trace, check_rate, read_file_of, resample, signal_files, to_csv
from polymodal.types import Space

_LARGEST = float(np.finfo(np.float32).max)
_MOST_NUMBERS = 1 << 26
_MOST_CHANNELS = 64
"""Of a column that is recognised; numbers side by side in more columns are rather a table or a picture."""
_FEWEST_STEPS = 8
"""Of most values of a column that is recognised."""
_SHORT_SECONDS = 2.0
"""Of a series that is no burden, however short the others are."""
_POINTS, _LANE = 256, 40
"""Points of a drawn line, and height of its lane."""
_COLOURS = ("#2f6f9f", "#b3412e", "#3f8f4f", "#8a5fb0", "#b07a1e", "#4f4f4f")


class Series(Modality):
    """Traces of sensors, each channel less its mean and divided by its standard deviation; their length varies.

    Space: continuous (channels, steps). Stored: the standardised numbers (steps, channels), in 32-bit floats. They are
    standardised in 64 bits, so that levels far from zero keep their digits.

    A series of s seconds has s * rate_hz steps, rounded.

    Args:
        channels: Numbers of a step.
        max_seconds: A longer series is refused, never cut.
        rate_hz: Everything is resampled to it; what does not say its rate has this one.
        mean: Of each channel, or one for all. None: that of the training rows.
        std: Of each channel, or one for all. None: that of the training rows; 1 for a channel that does not vary.

    Raises:
        ConfigError: An argument is out of range.
    """

    dtype = np.float32
    suffix = ".csv"
    suffixes = (".csv", ".npy", ".hea")
    prepares_on = "distinct"

    def __init__(
        self,
        channels: int = 1,
        max_seconds: float = 10.0,
        rate_hz: float = 25.0,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        if not isinstance(channels, int) or channels < 1:
            raise ConfigError(f"channels: {quote(channels)} is not a count of channels")
        if not 0 < rate_hz <= MOST_RATE_HZ:
            raise ConfigError(f"rate_hz: {rate_hz}; above 0, and at most {MOST_RATE_HZ:,.0f}, are right")
        if not 0 < max_seconds * rate_hz * channels <= _MOST_NUMBERS:
            raise ConfigError(
                f"max_seconds: {max_seconds} s of {channels} channels at {rate_hz} Hz; above 0, and at most "
                f"{_MOST_NUMBERS:,} numbers, are right"
            )
        self.channels, self.max_seconds, self.rate_hz = channels, max_seconds, rate_hz
        self.mean, self.std = given_moments(channels, mean, std)
        self.space = Space("continuous", (channels, ceil(max_seconds * rate_hz - 1e-9)), varies=1)

    def prepare(self, raws: Iterable[Any]) -> None:
        if self.mean is not None and self.std is not None:
            return
        moments = Moments(self.channels)
        for raw in raws:
            with suppress(DataError):  # the build refuses the same cell, and says so with its row
                moments.add(self._values(raw))
        if moments.count:
            self.mean, self.std = self.mean or moments.mean, self.std or moments.std

    def read(self, raw: Any) -> np.ndarray:
        """A trace, in whichever form -> (steps, channels) standardised.

        Numbers are (steps, channels) or, of one channel, (steps,): an array, nested lists, or these as JSON, at
        ``rate_hz``; ``Trace``, (array, rate) and ``{"array": ..., "sampling_rate": ...}`` say their rate. Files are
        CSV, whose column ``seconds`` or ``time`` says it, NPY, and WFDB by the path of its header.
        """
        mean, std = self._moments()
        return ((self._values(raw) - mean) / std).clip(-_LARGEST, _LARGEST).astype(self.dtype)

    def _values(self, raw: Any) -> np.ndarray:
        """Raw -> (steps, channels) 64-bit floats at ``rate_hz``, not yet standardised."""
        trace = self._trace(raw)
        values, rate = trace.values, trace.rate_hz
        if values.dtype.kind not in "iuf":
            raise DataError(f"an array of {values.dtype} is no series of numbers")
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] != self.channels:
            turned = "; its transpose is" if values.ndim == 2 and values.shape[0] == self.channels else ""
            raise DataError(f"a series of shape {values.shape}; (steps, {self.channels}) is right{turned}")
        if not len(values):
            raise DataError("empty: no steps")
        check_rate(rate)
        self._check(len(values), rate)
        values = np.asarray(values, np.float64)
        if not (good := np.abs(values) <= _LARGEST).all():
            step, channel = (int(place[0]) for place in np.nonzero(~good))
            number = values[step, channel]
            problem = f"{number:g}, beyond 32 bits" if np.isfinite(number) else f"{number:g}, and no measurement"
            raise DataError(f"step {step} of channel {channel} is {problem}")
        return resample(values, rate, self.rate_hz, self._steps(len(values), rate))

    def _trace(self, raw: Any) -> Trace:
        """Raw -> numbers of any shape and their rate."""
        if isinstance(raw, str):
            try:
                raw = parse_vector(raw)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{shown(raw)} is not a series") from error
        if isinstance(raw, bytes | Path):
            return read_file_of(raw, self.rate_hz, self._check)
        if isinstance(raw, Trace):
            return Trace(np.asarray(raw.values), raw.rate_hz)
        rate: Any = self.rate_hz
        if isinstance(raw, dict) and {"array", "sampling_rate"} <= raw.keys():
            raw, rate = raw["array"], raw["sampling_rate"]
        elif isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[0], np.ndarray | list):
            raw, rate = raw
        if not isinstance(raw, np.ndarray | list | tuple | Tensor):
            raise DataError(f"{shown(raw)} is not a series")
        try:
            values = np.asarray(raw)
            return Trace(values.astype(np.float64) if values.dtype.kind == "O" else values, float(rate))
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise DataError(f"{shown(raw)} is not a series: its steps need one number for each channel") from error

    def _steps(self, steps: int, rate_hz: float) -> int:
        """How many steps are left of ``steps`` at a rate."""
        return max(1, round(steps * self.rate_hz / rate_hz))

    def _check(self, steps: int, rate_hz: float) -> None:
        """Refuses what is too long."""
        if self._steps(steps, rate_hz) > self.space.max_length:
            check_length(steps / rate_hz, self.max_seconds)

    def to_model(self, stored: Tensor) -> Tensor:
        """(B, L, channels) -> (B, channels, L)."""
        return stored.mT.to(torch.float32)

    def write(self, value: Tensor) -> Trace:
        mean, std = self._moments()
        return Trace(value.detach().cpu().double().numpy().T * std + mean, self.rate_hz)

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Traces and files of them; arrays and lists (steps, channels); lists of numbers whose lengths differ."""
        found = [trace for cell, file in zip(sample.cells, sample.files, strict=True) if (trace := _tried(cell, file))]
        if 2 * len(found) <= len(sample.cells):
            return None
        (channels, count) = Counter(trace.values.shape[1] for trace in found).most_common(1)[0]
        lengths = [len(trace) for trace in found]
        flat = sum(trace.rate_hz == 0 and trace.values.shape[1] == 1 for trace in found)
        same = Counter(lengths).most_common(1)[0][1]
        if (
            2 * count <= len(sample.cells)
            or median(lengths) < _FEWEST_STEPS
            or (flat == len(found) and 2 * same > flat)
        ):
            return None  # lists of one length are vectors
        rates = [trace.rate_hz for trace in found if trace.rate_hz]
        rate = float(f"{median(rates):.4g}") if rates else 1.0
        seconds = np.array([len(trace) / (trace.rate_hz or rate) for trace in found])
        limit = usual_limit(seconds, _SHORT_SECONDS)
        if not rates:
            sample.notes.append("nothing says how many steps a second has; rate_hz=1 counts a step as a second")
        return cls(channels, max_seconds=max(ceil(limit * 10) / 10, 1 / rate), rate_hz=rate)

    @classmethod
    def names_file(cls, text: str) -> bool:
        """Texts that are no list in JSON."""
        return not text.lstrip().startswith("[")

    @classmethod
    def companions(cls, path: Path) -> Sequence[Path]:
        """The signals of a WFDB header."""
        return signal_files(path) if path.suffix.lower() == ".hea" else ()

    def encode(self, thing: Trace) -> bytes:
        return to_csv(thing)

    def preview(self, thing: Trace) -> Markup:
        """The channels one below another, each over its own range, which is written beside it."""
        lines = []
        for channel, (points, low, high) in enumerate(_lines(thing)):
            path = " ".join(f"{_POINTS * x:.1f},{_LANE * (channel + 0.95 - 0.9 * y):.1f}" for x, y in points)
            line = (
                '<polyline fill="none" stroke="{}" points="{}"><title>channel {}: {:.4g} to {:.4g}</title></polyline>'
            )
            lines.append(Markup(line).format(_COLOURS[channel % len(_COLOURS)], path, channel, low, high))
        return Markup('<svg viewBox="0 0 {} {}" width="{}" role="img">{}</svg>').format(
            _POINTS, _LANE * max(1, len(lines)), _POINTS, Markup("").join(lines)
        )

    def thumbnail(self, thing: Trace, side: int) -> PILImage.Image:
        """The channels one below another."""
        picture = PILImage.new("RGB", (side, side), (255, 255, 255))
        draw, lane = ImageDraw.Draw(picture), side / max(1, thing.values.shape[1])
        for channel, (points, _, _) in enumerate(_lines(thing)):
            line = [((side - 1) * x, lane * (channel + 0.95 - 0.9 * y)) for x, y in points]
            draw.line(line, fill=_COLOURS[channel % len(_COLOURS)], width=1)
        return picture

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.mean or [0.0] * self.channels), np.asarray(self.std or [1.0] * self.channels)


def _lines(trace: Trace) -> Iterator[tuple[list[tuple[float, float]], float, float]]:
    """Of each channel points from 0 to 1, at most two for each place of a page, and its range; peaks stay."""
    count = len(trace)
    bins = np.array_split(np.arange(count), min(count, _POINTS)) if count else []
    for channel in trace.values.T:
        low, high = float(channel.min(initial=np.inf)), float(channel.max(initial=-np.inf))
        span = high - low or 1.0
        places = [
            place for part in bins for place in sorted({part[channel[part].argmin()], part[channel[part].argmax()]})
        ]
        points = [(place / max(1, count - 1), (float(channel[place]) - low) / span) for place in places]
        yield points * 2 if len(points) == 1 else points, low, high


def _tried(cell: Any, file: Any) -> Trace | None:
    """A cell (T, C) that seems to be a series, of rate 0 where it does not say one; None if it is none."""

    def check(steps: int, rate_hz: float) -> None:
        check_length(steps, _MOST_NUMBERS)

    with suppress(DataError, ValueError, TypeError):
        if isinstance(cell, str) and cell.lstrip().startswith("["):
            cell = parse_vector(cell)
        if isinstance(cell, Trace):
            return cell
        trace = Trace(np.empty(0), 0.0)
        if isinstance(file, Path):
            trace = read_file_of(file, 0.0, check) if file.suffix.lower() in Series.suffixes else trace
        elif isinstance(file, bytes):
            trace = read_file_of(file, 0.0, check)
        elif isinstance(cell, list | np.ndarray):
            trace = Trace(np.asarray(cell), 0.0)
        values = trace.values[:, None] if trace.values.ndim == 1 else trace.values
        if values.ndim == 2 and values.dtype.kind in "iuf" and 1 <= values.shape[1] <= min(_MOST_CHANNELS, len(values)):
            return Trace(values, trace.rate_hz)
    return None


__all__ = ["Series", "Trace"]
