"""Draws pictures and speaks names: the worker of the emoji build, ``python -m polymodal.data.emoji.cells TASKS OUT``.

A process of its own, so that eSpeak (GPL, global state) and the renderers stay out of the user's process, and so
that it needs neither a fork nor a guarded main module. TASKS is JSON: ``pictures`` as [key, SVG file, size] and
``speech`` as [key, voice, pitch, text]; OUT becomes a Parquet file of ``key`` and ``data``.
"""

import io
import json
import sys
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

SAMPLE_RATE_HZ = 16_000
_LOUDNESS = 0.08  # root mean square of the spoken part, about -22 dB of full scale
_PEAK = 0.95
_SILENCE = 0.01  # of the peak: -40 dB
_MARGIN_SECONDS = 0.03


def draw(svg: Path, size: int) -> bytes:
    """An SVG file as a PNG file of size x size pixels with transparency."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_path=str(svg), width=size, height=size, skip_system_fonts=True))


def tidy(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Speech without the silence around it, at ``SAMPLE_RATE_HZ`` and at one loudness; empty if it is all silence."""
    import soxr

    loud = np.flatnonzero(np.abs(samples) > _SILENCE * np.abs(samples).max(initial=0.0))
    if len(loud) == 0:
        return np.zeros(0, np.float32)
    margin = int(_MARGIN_SECONDS * sample_rate_hz)
    samples = samples[max(loud[0] - margin, 0) : loud[-1] + margin]
    samples = soxr.resample(samples, sample_rate_hz, SAMPLE_RATE_HZ)
    gain = min(_LOUDNESS / np.sqrt(np.mean(samples**2)), _PEAK / np.abs(samples).max())
    return (samples * gain).astype(np.float32)


def to_flac(samples: np.ndarray) -> bytes:
    """Samples at ``SAMPLE_RATE_HZ`` as a 16-bit FLAC file."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def speak(tasks: list[tuple[str, str, int, str]]) -> Iterator[tuple[str, bytes]]:
    """(key, voice, pitch, text) -> (key, FLAC); no voice is hibari's. A name that a voice cannot say is left out."""
    from hibari import Hibari

    from polymodal.data.emoji.espeak import Espeak

    hibari = Hibari(threads=1)
    espeak = Espeak()
    for (voice, pitch), spoken in groupby(sorted(tasks, key=itemgetter(1, 2)), key=itemgetter(1, 2)):
        if voice:
            espeak.use(voice, pitch)
        for key, _, _, text in spoken:
            samples = espeak(text) if voice else hibari(text, seed=0)
            samples = tidy(samples, espeak.sample_rate_hz if voice else hibari.sample_rate)
            if len(samples):
                yield key, to_flac(samples)


def main(tasks_file: str, out_file: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tasks = json.loads(Path(tasks_file).read_text("utf-8"))
    cells = [(key, draw(Path(svg), size)) for key, svg, size in tasks["pictures"]]
    cells += speak(tasks["speech"])
    keys, data = zip(*cells, strict=True)
    pq.write_table(pa.table({"key": keys, "data": pa.array(data, pa.binary())}), out_file, compression="none")


if __name__ == "__main__":
    main(*sys.argv[1:])
