"""Draws pictures and speaks names: the worker of the emoji build, ``python -m polymodal.data.emoji.cells TASKS OUT``.

TASKS is JSON: ``pictures`` as [key, SVG file, size] and ``speech`` as utterances; OUT becomes a Parquet file of ``key``
and ``data``.
"""

import json
import sys
from pathlib import Path

from polymodal.data.build_dataset import write_cells
from polymodal.data.voices import Utterance, speak


def draw(svg: Path, size: int) -> bytes:
    """An SVG file as a PNG file of size x size pixels with transparency."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_path=str(svg), width=size, height=size, skip_system_fonts=True))


def main(tasks_file: str, out_file: str) -> None:
    tasks = json.loads(Path(tasks_file).read_text("utf-8"))
    cells = [(key, draw(Path(svg), size)) for key, svg, size in tasks["pictures"]]
    cells += speak(Utterance(*task) for task in tasks["speech"])
    write_cells(cells, out_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
