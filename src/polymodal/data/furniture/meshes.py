"""Meshes of the furniture data set, in centimetres: ``python -m polymodal.data.furniture.meshes TASKS OUT``.

TASKS is a JSON list of [key, catalogue, member, rotation, size]; OUT becomes a Parquet file of ``key`` and ``data``.
What cannot be read is left out.
"""

import io
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from polymodal.data.build_dataset import write_cells
from polymodal.data.furniture.catalogues import read_members
from polymodal.errors import DataError


def to_ply(obj: bytes, rotation: Sequence[float], size_cm: Sequence[float]) -> bytes:
    """A mesh (OBJ), turned and stretched to fill its box, as a binary PLY without texture.

    Args:
        obj: The file.
        rotation: Nine numbers, rows of the matrix.
        size_cm: Width, height and depth: the extents along x, y and z.

    Raises:
        DataError: There is no surface in it.
    """
    import trimesh

    try:
        read = trimesh.load_mesh(io.BytesIO(obj), file_type="obj", process=False, skip_materials=True)
        vertices, faces = np.asarray(read.vertices, np.float64), np.asarray(read.faces)
    except Exception as error:  # whatever a damaged file raises there
        raise DataError(f"the mesh cannot be read: {error}") from error
    if not len(faces) or not np.isfinite(vertices).all():
        raise DataError("the mesh has no surface")
    vertices = vertices[np.unique(faces)] @ np.reshape(rotation, (3, 3)).T
    faces = np.unique(faces, return_inverse=True)[1].reshape(faces.shape)
    low, high = vertices.min(0), vertices.max(0)
    extent = high - low
    vertices = (vertices - (low + high) / 2) * np.where(extent > 0, size_cm / np.where(extent > 0, extent, 1), 1)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    return trimesh.exchange.ply.export_ply(mesh, vertex_normal=False)


def main(tasks_file: str, out_file: str) -> None:
    made = {}
    for key, catalogue, member, rotation, size_cm in json.loads(Path(tasks_file).read_text("utf-8")):
        with suppress(DataError):
            made[key] = to_ply(read_members(Path(catalogue), [member])[member], rotation, size_cm)
    write_cells(made.items(), out_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
