"""A contact sheet: some rows of a data set as one picture."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from polymodal.data.load import Data
from polymodal.data.rows import Rows
from polymodal.modalities import Image

_PICTURE = 96
_TEXT_WIDTH = 200
_MARGIN = 8
_LINE = 15
_LINES = (_PICTURE + _LINE) // _LINE


def contact_sheet(data: Data, path: str | Path, *, count: int = 40, columns: int = 4) -> Path:
    """Write a PNG of rows spread evenly over the data: pictures and spectrograms, with the other fields beside them.

    Args:
        data: Of which.
        path: Where to.
        count: Most rows to show.
        columns: Rows shown side by side.
    """
    places = [(name, rows, i) for name, rows in data.splits.items() for i in range(len(rows))]
    chosen = [places[int(i)] for i in np.linspace(0, len(places) - 1, min(count, len(places)))]
    pictures = [name for name, modality in data.fields.items() if _is_picture(modality)]
    width = len(pictures) * (_PICTURE + _MARGIN) + _TEXT_WIDTH + _MARGIN
    height = max(_PICTURE, _LINES * _LINE) + 2 * _MARGIN
    lines = -(-len(chosen) // columns)
    sheet = PILImage.new("RGB", (min(columns, len(chosen)) * width + _MARGIN, lines * height), "white")
    for place, (split, rows, i) in enumerate(chosen):
        left, top = place % columns * width + _MARGIN, place // columns * height + _MARGIN
        _draw(sheet, (left, top), rows, i, split, pictures)
    sheet.save(path, format="PNG")
    return Path(path)


def _is_picture(modality: Any) -> bool:
    return modality.space.kind == "continuous" and len(modality.space.shape) > 1


def _draw(sheet: PILImage.Image, corner: tuple[int, int], rows: Rows, i: int, split: str, pictures: list[str]) -> None:
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    left, top = corner
    batch = rows.decode({name: rows.columns[name].batch(np.array([i])) for name in rows.fields})
    for name in pictures:
        field = batch[name]
        if field.present[0]:
            sheet.paste(_thumbnail(rows.fields[name], field.value[0]), (left, top))
        draw.rectangle((left - 1, top - 1, left + _PICTURE, top + _PICTURE), outline="#cccccc")
        left += _PICTURE + _MARGIN
    lines = [f"row {rows.index[i] + 1}, {split}"]
    for name, modality in rows.fields.items():
        if name not in pictures and batch[name].present[0]:
            lines += textwrap.wrap(f"{name}: {modality.write(batch[name].value[0])}", 32)[:3]
    draw.multiline_text((left, top), "\n".join(lines[:_LINES]), fill="black", font=font, spacing=2)


def _thumbnail(modality: Any, value: Any) -> PILImage.Image:
    if isinstance(modality, Image):
        picture = modality.write(value).convert("RGB")
    else:  # channels of a length of time: low ones below, bright where large
        grid = value.reshape(-1, value.shape[-1]).float().numpy()[::-1]
        span = max(float(grid.max() - grid.min()), 1e-6)
        picture = PILImage.fromarray((255 * (grid - grid.min()) / span).astype(np.uint8)).convert("RGB")
    return picture.resize((_PICTURE, _PICTURE))
