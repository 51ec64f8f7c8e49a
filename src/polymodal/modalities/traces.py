"""Traces: what sensors measure over time, in CSV, NPY and WFDB files, and their resampling."""

import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from polymodal.errors import DataError, quote
from polymodal.files import write_array, write_file
from polymodal.modalities.base import read_file
from polymodal.modalities.npy import NPY, load_npy

MOST_RATE_HZ = 1e6
_MOST_CELLS = 1 << 26
"""Of a file of text."""
_TIME = re.compile(r"(?i)(time|t|seconds?|secs?)(\W*s(ec(onds?)?)?\W*)?")
"""The header of a column of seconds."""
_UNEVEN = 0.01
"""Share of a step by which times may be off, as the clocks of sensors round them."""

CheckSteps = Callable[[int, float], None]
"""Refuses so many steps at a rate in Hz, before memory is taken for them."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Channels that were measured together at even steps of time.

    Attributes:
        values: (T, C) 64-bit floats.
        rate_hz: Steps per second.
    """

    values: np.ndarray
    rate_hz: float

    @property
    def seconds(self) -> float:
        return len(self.values) / self.rate_hz

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"Trace({self.values.shape[1]} channels, {self.seconds:.2f} s at {self.rate_hz:g} Hz)"

    def save(self, path: str | Path) -> None:
        """Write a ``.csv`` file, with a column of seconds, or a ``.npy`` file, which does not hold the rate.

        Raises:
            DataError: The ending is another one.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in (".csv", ".npy"):
            raise DataError(f"{path}: cannot write a series as '{suffix}'; write .csv or .npy")
        if suffix == ".csv":
            write_file(Path(path), to_csv(self))
        else:
            write_array(Path(path), self.values)


def to_csv(trace: Trace) -> bytes:
    """A table with the columns ``seconds``, 0, 1, ..."""
    lines = [",".join(["seconds", *map(str, range(trace.values.shape[1]))])]
    for step, row in enumerate(trace.values.tolist()):
        lines.append(",".join([f"{step / trace.rate_hz:.12g}", *map(repr, row)]))
    return ("\n".join(lines) + "\n").encode()


def read_file_of(raw: Path | bytes, rate_hz: float, check: CheckSteps) -> Trace:
    """The trace of a file; its rate is ``rate_hz`` where the file does not say it.

    Raises:
        DataError: It cannot be read, or ``check`` refuses it.
    """
    if isinstance(raw, Path) and raw.suffix.lower() == ".hea":
        return read_wfdb(raw, check)
    content = read_file(raw) if isinstance(raw, Path) else raw
    if not content.startswith(NPY):
        return read_csv(content, rate_hz, check)
    return Trace(load_npy(content, lambda shape: check(shape[0] if shape else 1, rate_hz)), rate_hz)


def read_csv(content: bytes, rate_hz: float, check: CheckSteps) -> Trace:
    """A table of numbers, with or without a line of names, of which a column of that name may hold seconds.

    Numbers are apart by tabs, semicolons, commas or spaces. Uneven times are made even by interpolation.

    Raises:
        DataError: It is none, or ``check`` refuses it.
    """
    try:
        lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"not a series: byte 0x{content[error.start]:02x} at {error.start} is no UTF-8") from error
    if not lines:
        raise DataError("empty: no steps")
    mark = next((mark for mark in "\t;," if mark in lines[0]), None)
    names = [name.strip().strip('"') for name in lines[0].split(mark)]
    header = not all(map(_is_number, names))
    body = lines[1:] if header else lines
    timed = [place for place, name in enumerate(names) if header and _TIME.fullmatch(name)][:1]
    if not timed:
        check(len(body), rate_hz)
    if len(body) * len(names) > _MOST_CELLS:
        raise DataError(f"a table of {len(body):,} x {len(names)} numbers; at most {_MOST_CELLS:,} are read")
    rows = []
    for number, line in enumerate(body, 1 + header):
        cells = line.split(mark)
        try:
            rows.append([float(cell) if cell.strip() else np.nan for cell in cells])
        except ValueError:
            raise DataError(f"line {number} of the series holds {quote(line.strip())}, which are not numbers") from None
        if len(cells) != len(names):
            raise DataError(f"line {number} of the series has {len(cells)} numbers; the first has {len(names)}")
    if not rows:
        raise DataError("empty: no steps")
    table = np.array(rows)
    if not timed:
        return Trace(table, rate_hz)
    return _evenly(table[:, timed[0]], np.delete(table, timed[0], 1), rate_hz, check)


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _evenly(times: np.ndarray, values: np.ndarray, rate_hz: float, check: CheckSteps) -> Trace:
    """Values (T, C) at ``times`` (T,) in seconds -> at even times, as many a second as there are on average."""
    steps = np.diff(times)
    if not np.isfinite(times).all() or (steps <= 0).any():
        raise DataError("the seconds of the series do not rise from line to line")
    if not len(steps):
        return Trace(values, rate_hz)
    rate = len(steps) / float(times[-1] - times[0])
    check_rate(rate)
    check(len(times), rate)
    even = times[0] + np.arange(len(times)) / rate
    if np.abs(times - even).max() * rate > _UNEVEN:
        values = np.stack([np.interp(even, times, channel) for channel in values.T], 1)
    return Trace(values, rate)


def signal_files(header: Path) -> list[Path]:
    """The files that a WFDB header names, in its own folder; those that are not there are left out."""
    try:
        lines = read_file(header).decode("latin-1").splitlines()
    except DataError:
        return []
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    names = dict.fromkeys(line.split()[0] for line in lines[1:])
    found = [header.parent / name for name in names if re.fullmatch(r"[\w.-]+", name)]
    folder = header.parent.resolve()
    return [path for path in found if path.is_file() and path.resolve().parent == folder]


def read_wfdb(header: Path, check: CheckSteps) -> Trace:
    """The record of a WFDB header, in its physical units, with the signals that lie beside it.

    Source: the WFDB Applications Guide, header(5) and signal(5).

    Raises:
        DataError: It cannot be read, it has segments of its own, the package is missing, or ``check`` refuses it.
    """
    name, signals = str(header.with_suffix("")), {path.name for path in signal_files(header)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package lags behind pandas
            return _read_record(name, signals, check)
    except ImportError as error:
        raise DataError("WFDB records need the package wfdb: pip install 'polymodal[wfdb]'") from error
    except DataError:
        raise
    except Exception as error:  # the library raises nearly every kind of error on broken files
        raise DataError(f"not a WFDB record: {' '.join(str(error).split())}") from error


def _read_record(name: str, signals: Collection[str], check: CheckSteps) -> Trace:
    import wfdb

    about = wfdb.rdheader(name)
    if not isinstance(about, wfdb.Record):
        raise DataError("the record has several segments; each is read as a record of its own")
    if missing := [file for file in about.file_name or () if file not in signals]:
        raise DataError(f"the record's signals '{missing[0]}' are not in its folder")
    check_rate(float(about.fs))
    check(int(about.sig_len or 0), float(about.fs))
    return Trace(wfdb.rdrecord(name).p_signal, float(about.fs))


def check_rate(rate_hz: float) -> None:
    """Refuses a rate that no sensor has.

    Raises:
        DataError: It is out of range.
    """
    if not 0 < rate_hz <= MOST_RATE_HZ:
        raise DataError(f"a rate of {rate_hz:g} Hz; above 0, and at most {MOST_RATE_HZ:,.0f}, are right")


def resample(values: np.ndarray, rate_hz: float, to_hz: float, steps: int) -> np.ndarray:
    """(T, C) at one rate -> (steps, C) at another, without aliases, the first step at the same time.

    A line from the first step to the last is taken away before and added after, so that a level far from zero rings at
    neither end.
    """
    count = len(values)
    if steps == count and abs(to_hz / rate_hz - 1) * count < 0.5:  # less than half a step at the end
        return values
    if count == 1:
        return values.repeat(steps, 0)
    places = np.clip(np.arange(steps) * rate_hz / to_hz, 0, count - 1)[:, None] / (count - 1)
    line = values[:1] + (values[-1:] - values[:1]) * places
    rest = values - (values[:1] + (values[-1:] - values[:1]) * np.linspace(0, 1, count)[:, None])
    try:
        made = soxr.resample(rest, rate_hz, to_hz)[:steps]
    except (ValueError, RuntimeError) as error:
        raise DataError(f"cannot resample from {rate_hz:g} to {to_hz:g} Hz: {error}") from error
    line[: len(made)] += made
    return line
