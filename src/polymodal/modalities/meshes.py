"""Surfaces as points: meshes and clouds of points, read from files that may be hostile, and sampled evenly."""

from __future__ import annotations

import json
import logging
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.errors import DataError
from polymodal.modalities.base import read_file
from polymodal.modalities.npy import NPY, load_npy

SUFFIXES = (".ply", ".obj", ".stl", ".glb", ".off", ".npy")
_STL_HEAD = 84
_MOST_NODES = 5_000
_WORDS = 200
"""Characters of a library's message that are shown."""


def read_points(raw: Any, count: int, seed: int, max_bytes: int, max_faces: int) -> np.ndarray:
    """A mesh or points -> ``count`` points (count, 3), evenly over the surface, in 64-bit floats.

    Args:
        raw: Path or bytes of a file; an array (n, 3); or a mesh or cloud of trimesh.
        count: Points.
        seed: Seed of their places.
        max_bytes: A larger file is refused.
        max_faces: A mesh of more triangles is refused, or points of more.

    Raises:
        DataError: It is none of these, is too large, or has no extent.
    """
    random = np.random.default_rng(seed)
    if isinstance(raw, Path | bytes):
        if isinstance(raw, Path) and raw.is_file() and raw.stat().st_size > max_bytes:
            raise DataError(f"the file has {raw.stat().st_size:,} bytes; max_bytes={max_bytes:,} can be set higher")
        content = read_file(raw) if isinstance(raw, Path) else raw
        if len(content) > max_bytes:
            raise DataError(f"the mesh has {len(content):,} bytes; max_bytes={max_bytes:,} can be set higher")
        raw = load_npy(content) if content.startswith(NPY) else _load(content, max_faces)
    if isinstance(raw, np.ndarray | list | tuple):
        vertices, faces = _as_points(raw), None
    elif hasattr(raw, "vertices"):
        vertices, faces = _as_points(raw.vertices), getattr(raw, "faces", None)
    else:
        raise DataError(f"a {type(raw).__name__} is neither a mesh nor points")
    size = len(vertices) if faces is None else len(faces)
    if size > max_faces:
        raise DataError(f"{size:,} triangles or points; max_faces={max_faces:,} can be set higher")
    if faces is not None and len(faces):
        vertices = _on_surface(vertices, np.asarray(faces), count, random)
    elif len(vertices):
        vertices = _some(vertices, count, random)
    if not len(vertices):
        raise DataError("there is no surface and there are no points")
    if not np.isfinite(vertices).all():
        raise DataError("a coordinate is not finite")
    if np.abs(vertices).max() > 1e18:
        raise DataError("a coordinate is beyond 1e18")
    return vertices


def _load(content: bytes, max_faces: int) -> Any:
    """A mesh, or a cloud, from the bytes of a file; its kind by its first bytes."""
    try:
        import trimesh
    except ImportError:
        raise DataError("reading meshes needs trimesh: pip install 'polymodal[shapes]'") from None
    kind = _kind(content, max_faces)
    quiet = logging.getLogger("trimesh")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of textures that are not looked at
            options: Any = {"skip_materials": True} if kind in ("obj", "glb") else {}
            scene = trimesh.load_scene(BytesIO(content), file_type=kind, process=False, **options)
            parts = [scene.geometry[scene.graph[node][1]] for node in scene.graph.nodes_geometry]
            size = sum(len(getattr(part, "faces", part.vertices)) for part in parts)
            if size > max_faces:
                raise DataError(f"{size:,} triangles or points; max_faces={max_faces:,} can be set higher")
            return scene.to_mesh() if any(hasattr(part, "faces") for part in parts) else _cloud(parts)
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"the {kind.upper()} file takes more memory than there is") from None
    except Exception as error:  # a damaged file raises nearly every kind of error there
        told = " ".join(str(error).split())[:_WORDS]
        raise DataError(f"not a {kind.upper()} file that can be read: {told or type(error).__name__}") from error
    finally:
        quiet.setLevel(level)


def _cloud(parts: list[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(part.vertices, np.float64) for part in parts]) if parts else np.empty((0, 3))


def _kind(content: bytes, max_faces: int) -> str:
    """The format of a file: what an ending says could be wrong.

    Raises:
        DataError: It is none that is read, or claims more than ``max_faces``.
    """
    head = content[:2048].lstrip()
    if head.startswith(b"ply"):
        _check_ply(content, max_faces)
        return "ply"
    if head.startswith(b"glTF"):
        _check_glb(content, max_faces)
        return "glb"
    if head[:4].upper() in (b"OFF\n", b"OFF\r", b"OFF ", b"COFF", b"NOFF"):
        return "off"
    if len(content) >= _STL_HEAD and len(content) == _STL_HEAD + 50 * int.from_bytes(content[80:84], "little"):
        return "stl"
    if head.lower().startswith(b"solid") and b"facet" in content[:4096]:
        return "stl_ascii"
    first = next((line for line in head.splitlines() if line.strip() and not line.startswith(b"#")), b"")
    if first.split(b" ")[0] in (b"v", b"vn", b"vt", b"f", b"o", b"g", b"s", b"mtllib", b"usemtl"):
        return "obj"
    raise DataError("no mesh: neither PLY, OBJ, STL, GLB, OFF nor .npy by its first bytes")


def _check_ply(content: bytes, max_faces: int) -> None:
    """Refuses a PLY whose header claims more than the file can hold, before memory is taken for it."""
    header, end, _ = content[: 1 << 16].partition(b"end_header")
    if not end:
        raise DataError("not a PLY file that can be read: its header has no end")
    for line in header.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == b"element":
            claimed = int(words[2]) if words[2].isdigit() and len(words[2]) < 20 else -1
            if not 0 <= claimed <= len(content):
                raise DataError(f"the PLY file claims {words[2].decode('latin-1')[:20]} elements; it cannot hold them")
            if claimed > 3 * max_faces:
                raise DataError(f"{claimed:,} triangles or points; max_faces={max_faces:,} can be set higher")


def _check_glb(content: bytes, max_faces: int) -> None:
    """Refuses a GLB that claims more numbers than the file can hold, or more nodes than are placed in a second.

    An accessor of no buffer is all zeros, so that a few bytes can claim any memory.
    """
    length = int.from_bytes(content[12:16], "little")
    try:
        document = json.loads(content[20 : 20 + length])
        counts = [int(accessor["count"]) for accessor in document.get("accessors", [])]
        nodes = len(document.get("nodes", []))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError("not a GLB file that can be read: its JSON is damaged") from error
    if min(counts, default=0) < 0 or sum(counts) > max(len(content), 1):
        raise DataError(f"the GLB file claims {sum(counts):,} numbers; it cannot hold them")
    if sum(counts) > 12 * max_faces:
        raise DataError(f"{sum(counts):,} vertices and indices; max_faces={max_faces:,} can be set higher")
    if nodes > _MOST_NODES:
        raise DataError(f"the GLB file has {nodes:,} nodes; at most {_MOST_NODES:,} are read")


def _as_points(raw: Any) -> np.ndarray:
    try:
        points = np.asarray(raw)
        if points.dtype.kind not in "iuf":
            raise ValueError
        points = points.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("an array that holds no numbers is no set of points") from error
    if points.ndim != 2 or points.shape[1] != 3:
        raise DataError(f"points of shape {points.shape}; (n, 3) is right")
    return points


def _on_surface(vertices: np.ndarray, faces: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Points (count, 3) on triangles: at even steps of the area, so that no part has many more than its share.

    Source: the square root for even places in a triangle: Osada et al., "Shape distributions", 2002, equation 1.
    """
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.min() < 0 or faces.max() >= len(vertices):
        raise DataError("a triangle names a vertex that is not there")
    corner, first, second = (vertices[faces[:, place]] for place in range(3))
    with np.errstate(all="ignore"):
        reach = np.linalg.norm(np.cross(first - corner, second - corner), axis=1).cumsum()
    if not np.isfinite(reach[-1]) or not reach[-1] > 0:
        if not np.isfinite(vertices).all():
            raise DataError("a coordinate is not finite")
        return _some(vertices[np.unique(faces)], count, random)  # no area: a line or a point
    steps = (np.arange(count) + random.random(count)) / count * reach[-1]
    chosen = np.searchsorted(reach, steps, side="right").clip(max=len(faces) - 1)
    root, along = np.sqrt(random.random((count, 1))), random.random((count, 1))
    corner, first, second = corner[chosen], first[chosen], second[chosen]
    return random.permutation((1 - root) * corner + root * (1 - along) * first + root * along * second)


def _some(points: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """``count`` of the points in random order, each as often as any other but for one; as they are if they are it."""
    if len(points) == count:
        return points
    order = np.concatenate([random.permutation(len(points)) for _ in range(-(-count // len(points)))])
    return points[order[:count]]
