"""A drawn face, and the opening of its mouth as its pixels show it."""

from functools import cache

import numpy as np

SIDE = 64
_SKIN, _HAIR, _EYE, _BACK, _CLOTH = (244, 200, 160), (92, 60, 40), (40, 40, 60), (208, 226, 240), (60, 90, 140)
_MOUTH = (110, 20, 30)
_MIDDLE, _CENTRE = 32.0, 46.0
"""x and y of the middle of the mouth, in pixels from the corner above on the left."""
_LEAST, _MOST = 1.0, 7.0
"""Half the height of a mouth that is closed and of one that is wide open."""
_NARROW, _WIDE = 6.0, 11.0
"""Half its width where it is rounded and where it is spread."""
_BOX = (slice(36, 56), slice(18, 46))
"""Rows and columns in which mouths lie."""
_SEEN = slice(30, 34)
"""Columns in which a mouth's height is measured; where rounded ones are nearly as high as in their middle."""
_FINER = 4
"""Points that are drawn for one pixel."""


def draw(shapes: np.ndarray) -> np.ndarray:
    """Opening and width (frames, 2), each from 0 to 1 -> pictures (frames, SIDE, SIDE, 3) of bytes."""
    covered = _covered(np.asarray(shapes, np.float64))[..., None]
    frames = np.repeat(_still_face()[None], len(shapes), 0)
    frames[:, *_BOX] = np.rint(frames[:, *_BOX] * (1 - covered) + np.array(_MOUTH) * covered)
    return frames


def opening_of(frames: np.ndarray) -> np.ndarray:
    """Frames (T, SIDE, SIDE, 3) of bytes -> how far each mouth is open, 0 to 1 in drawn ones: its height in pixels."""
    skin, mouth = np.array(_SKIN, float), np.array(_MOUTH, float)
    pixels = frames[:, _BOX[0], _SEEN].astype(float)
    return (_height((pixels - skin) @ (mouth - skin) / np.square(mouth - skin).sum()) - _bound(0)) / (
        _bound(1) - _bound(0)
    )


def _height(covered: np.ndarray) -> np.ndarray:
    """Mean over columns of what is covered (T, rows, columns) of each, in pixels."""
    return covered.clip(0, 1).sum(1).mean(1)


@cache
def _bound(opening: float) -> float:
    """Height of a mouth of middle width."""
    columns = slice(_SEEN.start - _BOX[1].start, _SEEN.stop - _BOX[1].start)
    return float(_height(_covered(np.array([[opening, 0.5]]))[..., columns])[0])


def _covered(shapes: np.ndarray) -> np.ndarray:
    """Share of each pixel of the box (T, rows, columns) that an elliptic mouth covers."""
    rows, columns = (np.arange(part.start, part.stop) for part in _BOX)
    opening, width = np.moveaxis(shapes, 1, 0)[..., None]
    x = (columns[0] + (np.arange(len(columns) * _FINER) + 0.5) / _FINER - _MIDDLE) / (
        _NARROW + width * (_WIDE - _NARROW)
    )
    half = (_LEAST + opening * (_MOST - _LEAST)) * np.sqrt((1 - x**2).clip(0))
    half = half[:, None]
    top, bottom = (_CENTRE - half).clip(rows[:, None]), (_CENTRE + half).clip(max=rows[:, None] + 1)
    return (bottom - top).clip(0).reshape(len(shapes), len(rows), len(columns), _FINER).mean(3)


@cache
def _still_face() -> np.ndarray:
    """The face without its mouth."""
    from PIL import Image, ImageDraw

    finer = _FINER
    canvas = Image.new("RGB", (SIDE * finer, SIDE * finer), _BACK)
    pen = ImageDraw.Draw(canvas)

    def ellipse(left: float, top: float, right: float, bottom: float, colour: tuple[int, int, int]) -> None:
        pen.ellipse([finer * left, finer * top, finer * right, finer * bottom], colour)

    ellipse(4, 54, 60, 90, _CLOTH)
    ellipse(8, 1, 56, 50, _HAIR)
    ellipse(11, 7, 53, 61, _SKIN)
    for middle in (23, 41):
        ellipse(middle - 5, 23, middle + 5, 31, (255, 255, 255))
        ellipse(middle - 2.5, 24.5, middle + 2.5, 29.5, _EYE)
        pen.line([finer * (middle - 5), finer * 20, finer * (middle + 5), finer * 20], _HAIR, finer)
    pen.line([finer * 32, finer * 29, finer * 30, finer * 35, finer * 33, finer * 35], (214, 164, 124), finer)
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX))
