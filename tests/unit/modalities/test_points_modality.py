"""Points: what is read of meshes and clouds, and what is refused."""

import io
import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import polymodal as pm
from polymodal.modalities.points import PointCloud

trimesh = pytest.importorskip("trimesh", reason="needs the extra 'shapes'")

BOX = trimesh.creation.box((2, 4, 6))
POINTS = pm.Points(count=600)


def cloud(raw, points=POINTS):
    return points.write(points.to_model(torch.from_numpy(points.read(raw))))


def exported(mesh, kind, **options):
    content = mesh.export(file_type=kind, **options)
    return content if isinstance(content, bytes) else content.encode()


FILES = {kind: exported(BOX, kind) for kind in ("ply", "obj", "stl", "glb", "off", "stl_ascii")}
FILES["ply ascii"] = exported(BOX, "ply", encoding="ascii")


@pytest.mark.parametrize("kind", FILES)
def test_every_format_gives_points_on_the_surface_in_their_size(kind, tmp_path):
    path = tmp_path / f"box.{kind.split()[0].split('_')[0]}"
    path.write_bytes(FILES[kind])
    for raw in (FILES[kind], path):
        made = cloud(raw)
        assert made.shape == (600, 3)
        assert np.ptp(made, axis=0) == pytest.approx([2, 4, 6], rel=0.05)
        inside = np.abs(made - (made.min(0) + made.max(0)) / 2) / ([1, 2, 3])
        assert inside.max(1) == pytest.approx(1, abs=0.06)  # on a face


def test_points_are_even_over_the_area():
    made = cloud(BOX, pm.Points(count=4400))
    area = {0: 24, 1: 12, 2: 8}  # of the face across each axis
    faces = np.abs(made / [1, 2, 3]).argmax(1) * 2 + (made[np.arange(4400), np.abs(made / [1, 2, 3]).argmax(1)] > 0)
    for axis, share in area.items():
        for side in (0, 1):
            assert (faces == 2 * axis + side).sum() == pytest.approx(4400 * share / 88, abs=60)


def test_sampling_is_seeded():
    assert np.array_equal(POINTS.read(FILES["ply"]), POINTS.read(FILES["ply"]))
    assert not np.array_equal(POINTS.read(FILES["ply"]), pm.Points(count=600, seed=1).read(FILES["ply"]))


def test_clouds_keep_their_points_and_repeat_few():
    points = np.random.default_rng(0).normal(size=(300, 3))
    made = cloud(points)
    for each in points - points[np.newaxis].mean(1):
        assert (np.abs(made - each).max(1) < 1e-4).sum() == 2
    content = io.BytesIO()
    np.save(content, points)
    assert np.allclose(cloud(content.getvalue()), made)


def test_the_scale_is_learned_and_kept():
    points = pm.Points(count=100)
    points.prepare([trimesh.creation.box((s, s, s)) for s in (0.01, 1.0, 100.0)])
    stored = [points.read(trimesh.creation.box((s, s, s))) for s in (0.01, 1.0, 100.0)]
    assert [float(each[3, 0]) for each in stored] == pytest.approx([-1.2247, 0, 1.2247], abs=0.05)
    assert all(np.ptp(each[3]) == 0 for each in stored)
    again = pm.Points(**points.state())
    for size in (0.01, 100.0):
        assert np.ptp(cloud(trimesh.creation.box((size, size, size)), again)) == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize("ending", ["ply", "obj", "npy", "png"])
def test_what_is_made_is_written_and_read(ending, tmp_path):
    made = cloud(BOX)
    assert isinstance(made, PointCloud)
    made.save(tmp_path / f"made.{ending}")
    if ending == "png":
        assert PILImage.open(tmp_path / "made.png").getextrema() != ((255, 255),) * 3
    else:
        again = np.sort(cloud(tmp_path / f"made.{ending}"), axis=0)
        assert np.allclose(again, np.sort(made, axis=0), atol=1e-4)
    assert np.allclose(np.sort(cloud(POINTS.encode(made)), axis=0), np.sort(made, axis=0), atol=1e-4)
    with pytest.raises(pm.DataError, match=r"\.ply, \.obj, \.npy or \.png"):
        made.save(tmp_path / "made.doc")


def test_a_page_turns_it_without_a_network():
    page = str(POINTS.preview(cloud(BOX)))
    assert "<canvas" in page
    assert "requestAnimationFrame" in page
    assert "http" not in page
    numbers = json.loads(page.split('data-points="')[1].split('"')[0])
    assert len(numbers) == 3 * 600
    assert max(map(abs, numbers)) <= 1000
    assert POINTS.thumbnail(cloud(BOX), 64).size == (64, 64)


def glb(document):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    return b"glTF" + struct.pack("<II", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON") + text


MANY = {
    "asset": {"version": "2.0"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0}],
    "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
    "accessors": [{"bufferView": 0, "componentType": 5126, "count": 1 << 40, "type": "VEC3"}],
    "bufferViews": [{"buffer": 0, "byteLength": 1 << 40}],
    "buffers": [{"byteLength": 1 << 40, "uri": "/etc/passwd"}],
}
HOSTILE = {
    "nothing": b"",
    "text": b"a chair",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "half a box": FILES["ply"][: len(FILES["ply"]) // 2],
    "a header alone": b"ply\nformat ascii 1.0\nelement vertex 3\n",
    "a claim": b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999999\nproperty float x\nend_header\n",
    "a negative claim": b"ply\nformat ascii 1.0\nelement vertex -5\nproperty float x\nend_header\n",
    "no vertex": b"f 1 2 3\n",
    "a face of no vertex": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    "not finite": b"v nan 0 0\nv 1 0 0\nv 0 inf 0\nf 1 2 3\n",
    "far away": b"v 1e300 0 0\nv 1 0 0\nv 0 1e300 0\nf 1 2 3\n",
    "one place": b"v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n",
    "an off of nothing": b"OFF\n0 0 0\n",
    "an off that claims": b"OFF\n999999999 9999999 0\n0 0 0\n",
    "a glb that claims": glb(MANY),
    "a glb of zeros": glb({"accessors": [{"componentType": 5126, "count": 1 << 31, "type": "VEC3"}]}),
    "a glb of many nodes": glb({"nodes": [{"mesh": 0}] * 5001}),
    "a glb of rubbish": b"glTF" + bytes(range(200)),
    "an obj in the plane": b"v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n",
    "an stl of nothing": bytes(80) + bytes(4),
    "numbers that end": b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (999, 3), }",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_a_line(name):
    with pytest.raises(pm.DataError) as caught:
        POINTS.read(HOSTILE[name])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("raw", [3, "no file", None, np.zeros((5, 2)), np.array([["a", "b", "c"]]), [[1, 2], [3]], {}])
def test_other_objects_are_refused(raw):
    with pytest.raises(pm.DataError):
        POINTS.read(raw)


def test_limits_name_their_option():
    with pytest.raises(pm.DataError, match="max_faces=5 can be set higher"):
        pm.Points(max_faces=5).read(FILES["glb"])
    with pytest.raises(pm.DataError, match="max_bytes=50 can be set higher"):
        pm.Points(max_bytes=50).read(FILES["obj"])
    for wrong in ({"count": 0}, {"scale_std": 0.0}, {"max_faces": 0}):
        with pytest.raises(pm.ConfigError):
            pm.Points(**wrong)


def test_columns_of_shapes_are_recognised(tmp_path):
    rows = [{"shape": np.random.default_rng(i).normal(size=(40, 3)), "name": f"a {i}"} for i in range(6)]
    fields = pm.infer_fields(rows, tmp_path)
    assert isinstance(fields["shape"], pm.Points)
    for i in range(4):
        (tmp_path / f"{i}.ply").write_bytes(FILES["ply"])
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"mesh": "{i}.ply"}}\n' for i in range(4)))
    assert isinstance(pm.infer_fields(tmp_path / "rows.jsonl")["mesh"], pm.Points)
