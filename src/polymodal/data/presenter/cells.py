"""Speaks sentences and draws who says them: the worker of the build, ``python -m polymodal.data.presenter.cells``.

TASKS is a JSON list of utterances. OUT becomes a Parquet file of ``key`` and ``data``: ``speech/KEY`` as FLAC and, of
eSpeak's voices, ``face/KEY`` as WebP and ``mouth/KEY`` as NPY.
"""

import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from polymodal.data.build_dataset import write_cells
from polymodal.data.presenter.faces import draw
from polymodal.data.presenter.visemes import RATE_HZ, movement
from polymodal.data.voices import Espeak, Utterance, speak, spoken_part, tidy, to_flac
from polymodal.modalities.animations import encode_animation


def present(utterances: Iterable[Utterance]) -> Iterator[tuple[str, bytes]]:
    """Utterances in eSpeak's voices -> speech, face and mouth of each."""
    espeak = Espeak()
    for one in sorted(utterances, key=lambda one: one.manner):
        espeak.use(*one.manner)
        samples, phonemes = espeak.say(one.text)
        part = spoken_part(samples, espeak.sample_rate_hz)
        begin, end = part.start / espeak.sample_rate_hz, min(part.stop, len(samples)) / espeak.sample_rate_hz
        shapes = movement(phonemes, begin, end - begin)
        mouth = io.BytesIO()
        np.save(mouth, shapes[:, :1].astype(np.float32))
        yield f"speech/{one.key}", to_flac(tidy(samples, espeak.sample_rate_hz))
        yield f"face/{one.key}", encode_animation(draw(shapes), RATE_HZ, "WEBP", lossless=True)
        yield f"mouth/{one.key}", mouth.getvalue()


def main(tasks_file: str, out_file: str) -> None:
    tasks = [Utterance(*task) for task in json.loads(Path(tasks_file).read_text("utf-8"))]
    cells = list(present(task for task in tasks if task.voice))
    cells += ((f"speech/{key}", clip) for key, clip in speak(task for task in tasks if not task.voice))
    write_cells(cells, out_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
