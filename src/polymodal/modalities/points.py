"""Points: shapes as sets of points on their surface."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image as PILImage
from torch import Tensor

from polymodal.errors import ConfigError, DataError, quote
from polymodal.files import atomic_file, write_array, write_file
from polymodal.modalities.base import ColumnSample, Modality
from polymodal.modalities.html import turning_html
from polymodal.modalities.meshes import SUFFIXES, read_points
from polymodal.types import Space

_SHOWN = 1024
"""Points that a page shows."""
_SIDE = 256


class PointCloud(np.ndarray):
    """Points (count, 3) as NumPy knows them, in 32-bit floats, with ``save``."""

    def save(self, path: str | Path) -> None:
        """Write a ``.ply``, ``.obj`` or ``.npy`` file, or a ``.png`` view.

        Raises:
            DataError: The ending is another one.
        """
        path = Path(path)
        points = np.asarray(self, np.float32)
        if path.suffix.lower() == ".ply":
            write_file(path, to_ply(points))
        elif path.suffix.lower() == ".obj":
            write_file(path, "".join(f"v {x:.7g} {y:.7g} {z:.7g}\n" for x, y, z in points.tolist()))
        elif path.suffix.lower() == ".npy":
            write_array(path, points)
        elif path.suffix.lower() == ".png":
            with atomic_file(path) as partial:
                render(points, 2 * _SIDE).save(partial)
        else:
            raise DataError(f"{path}: points are written as .ply, .obj, .npy or .png")


class Points(Modality):
    """Shapes: ``count`` points, evenly over a surface, in no order, about their middle.

    Space: continuous (4, count), a set: x, y and z, less their middle and divided by the shape's scale (the root mean
    square of the distances from the middle, over the root of 3), and the logarithm of the scale, standardised, which is
    the same for all points. The place of a shape is not kept. Stored: the same, in 32-bit floats.

    Args:
        count: Points.
        seed: Seed of their places on a surface.
        scale_mean: Mean logarithm of the scale. None: that of the training rows.
        scale_std: Standard deviation of the logarithm. None: that of the training rows.
        max_bytes: A larger file is refused.
        max_faces: A mesh of more triangles, or a cloud of more points, is refused.

    Raises:
        ConfigError: An argument is out of range.
    """

    dtype = np.float32
    suffix = ".ply"
    suffixes = SUFFIXES
    prepares_on = "distinct"

    def __init__(
        self,
        count: int = 2048,
        seed: int = 0,
        scale_mean: float | None = None,
        scale_std: float | None = None,
        max_bytes: int = 1 << 28,
        max_faces: int = 5_000_000,
    ) -> None:
        if not isinstance(count, int) or not 1 <= count <= 1 << 20:
            raise ConfigError(f"count: {quote(count)} is not a number of points, from 1 to {1 << 20:,}")
        if not isinstance(seed, int) or seed < 0:
            raise ConfigError(f"seed: {quote(seed)} is not a number from 0")
        if scale_mean is not None and not np.isfinite(scale_mean):
            raise ConfigError(f"scale_mean: {scale_mean} is not finite")
        if scale_std is not None and not (np.isfinite(scale_std) and scale_std > 0):
            raise ConfigError(f"scale_std: {scale_std} is not above 0")
        if max_bytes < 1 or max_faces < 1:
            raise ConfigError(f"max_bytes, max_faces: {max_bytes}, {max_faces} are not both at least 1")
        self.count, self.seed, self.scale_mean, self.scale_std = count, seed, scale_mean, scale_std
        self.max_bytes, self.max_faces = max_bytes, max_faces
        self.space = Space("continuous", (4, count), is_set=True)

    def prepare(self, raws: Iterable[Any]) -> None:
        if self.scale_mean is not None and self.scale_std is not None:
            return
        logs = []
        for raw in raws:
            try:
                logs.append(np.log(_centred(self._sample(raw))[1]))
            except DataError:
                continue  # the build refuses the same cell, and says so with its row
        if logs:
            deviation = float(np.std(logs))
            self.scale_mean = float(np.mean(logs)) if self.scale_mean is None else self.scale_mean
            self.scale_std = self.scale_std or (deviation if deviation > 1e-6 else 1.0)

    def read(self, raw: Any) -> np.ndarray:
        """Path or bytes of PLY, OBJ, STL, GLB, OFF or ``.npy``; array (n, 3); or mesh of trimesh -> (4, count)."""
        points, scale = _centred(self._sample(raw))
        stored = np.empty((4, self.count), self.dtype)
        stored[:3] = points.T
        stored[3] = (np.log(scale) - (self.scale_mean or 0.0)) / (self.scale_std or 1.0)
        return stored

    def _sample(self, raw: Any) -> np.ndarray:
        return read_points(raw, self.count, self.seed, self.max_bytes, self.max_faces)

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.to(torch.float32)

    def write(self, value: Tensor) -> PointCloud:
        value = value.detach().cpu().double()
        logarithm = float(value[3].mean()) * (self.scale_std or 1.0) + (self.scale_mean or 0.0)
        points = value[:3].T.numpy() * np.exp(np.clip(logarithm, -80, 80))
        return points.astype(np.float32).view(PointCloud)

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Files of meshes, also embedded ones, and arrays (n, 3)."""
        shapes = tuple(suffix for suffix in cls.suffixes if suffix != ".npy")
        if sample.mostly_files(shapes):
            return cls()
        content = sample.content or b""
        if content.startswith((b"ply\n", b"ply\r", b"glTF", b"OFF\n", b"OFF\r")):
            return cls()
        arrays = [cell for cell in sample.cells if isinstance(cell, np.ndarray)]
        clouds = sum(cell.ndim == 2 and cell.shape[1] == 3 and cell.dtype.kind == "f" for cell in arrays)
        return cls() if 2 * clouds > len(sample.cells) else None

    def encode(self, thing: PointCloud) -> bytes:
        return to_ply(np.asarray(thing, np.float32))

    def preview(self, thing: PointCloud) -> Markup:
        """A picture that turns, without a network; where there are no scripts, one that stands still."""
        shown = _fitted(np.asarray(thing, np.float64)[:: -(-len(thing) // _SHOWN)])
        numbers = json.dumps((shown * 1000).round().astype(int).ravel().tolist(), separators=(",", ":"))
        return turning_html(self.thumbnail(thing, _SIDE), numbers)

    def thumbnail(self, thing: PointCloud, side: int) -> PILImage.Image:
        return render(np.asarray(thing, np.float64), side)


def _centred(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Points (n, 3) about their middle, of unit variance over all coordinates, and what they were divided by.

    Raises:
        DataError: All are in one place.
    """
    points = points - points.mean(0)
    scale = float(np.sqrt(np.square(points).mean()))
    if not scale > 1e-30:
        raise DataError("all points are in one place: the shape has no extent")
    return points / scale, scale


def _fitted(points: np.ndarray) -> np.ndarray:
    """Points (n, 3) within the unit ball."""
    points = points - (points.min(0) + points.max(0)) / 2
    return points / max(float(np.linalg.norm(points, axis=1).max()), 1e-30)


def to_ply(points: np.ndarray) -> bytes:
    """Points (n, 3) as a binary PLY."""
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    return head.encode() + points.astype("<f4").tobytes()


def render(points: np.ndarray, side: int) -> PILImage.Image:
    """Points (n, 3) from the front, a little from the right and above, the near ones darker; y is up."""
    turn, tilt = np.deg2rad(30), np.deg2rad(20)
    x, y, z = _fitted(points).T
    x, z = np.cos(turn) * x + np.sin(turn) * z, np.cos(turn) * z - np.sin(turn) * x
    y, z = np.cos(tilt) * y - np.sin(tilt) * z, np.cos(tilt) * z + np.sin(tilt) * y
    radius = max(1, side // 128)
    shades = (210 - 160 * (z + 1) / 2).clip(30, 210).astype(np.uint8)
    pixels = np.full((side, side), 255, np.uint8)
    columns, rows = ((x * 0.95 + 1) / 2 * (side - 1)).round().astype(int), ((1 - y * 0.95) / 2 * (side - 1)).round()
    offsets = np.arange(-radius + 1, radius + 1) if radius > 1 else np.arange(1)
    for down in offsets:
        for right in offsets:
            at = (rows.astype(int) + down).clip(0, side - 1), (columns + right).clip(0, side - 1)
            np.minimum.at(pixels, at, shades)
    return PILImage.fromarray(pixels).convert("RGB")
