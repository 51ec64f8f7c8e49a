"""Where what a clip shows is in each frame, and so which way it moves: the truth of a clip of ``moving``, measured."""

import numpy as np

from polymodal.data.moving.captions import DIRECTIONS, Motion

DARK = 0.15
"""Share of the brightest pixel of a clip up to which a pixel is background."""
_LEAST_PIXELS = 4.0
"""Way of half a clip that counts as a motion."""
_STRAIGHT = 0.5
"""Most that a half may move aside, as a share of the way that it moves along."""
_LEAST_MASS = 0.4
"""Of what is seen in each frame, as a share of its median over all."""


def centres(frames: np.ndarray) -> np.ndarray:
    """Centre of mass (T, 2), x and y in pixels, of what is brighter than the background of frames (T, H, W)."""
    light = _light(frames)
    total = np.maximum(light.sum((1, 2)), 1e-9)
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]]
    return np.stack([(light * x).sum((1, 2)) / total, (light * y).sum((1, 2)) / total], axis=1)


def masses(frames: np.ndarray) -> np.ndarray:
    """(T,) how much is brighter than the background of frames (T, H, W)."""
    return _light(frames).sum((1, 2))


def motion_of(frames: np.ndarray) -> Motion | None:
    """The motion that frames (T, H, W) show, in one direction or in two; None if they show none clearly.

    Each half of the clip has to move along an axis, hardly aside, and what is seen may not vanish from a frame. The
    least way is given for frames of 64 pixels, and is less in smaller ones.
    """
    mass = masses(frames)
    if len(frames) < 4 or mass.min() <= _LEAST_MASS * np.median(mass):
        return None
    way, half = centres(frames), len(frames) // 2
    least = _LEAST_PIXELS * frames.shape[2] / 64
    found = [_direction(way[half - 1] - way[0], least), _direction(way[-1] - way[-half], least)]
    if None in found:
        return None
    first, second = map(str, found)
    return (first,) if first == second else (first, second)


def _direction(moved: np.ndarray, least: float) -> str | None:
    along = int(np.abs(moved).argmax())
    if abs(moved[along]) < least or abs(moved[1 - along]) > _STRAIGHT * abs(moved[along]):
        return None
    return next(name for name, unit in DIRECTIONS.items() if unit[along] == np.sign(moved[along]))


def _light(frames: np.ndarray) -> np.ndarray:
    light = frames.astype(np.float64)
    return np.where(light > DARK * max(light.max(), 1e-9), light, 0.0)
