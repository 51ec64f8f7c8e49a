"""Shapes by the flagship recipe as it is: trained, generated, filled, evaluated and reported."""

import json

import numpy as np
import pytest

import polymodal as pm
from polymodal.evaluation import write_report
from polymodal.modalities.points import PointCloud

trimesh = pytest.importorskip("trimesh", reason="needs the extra 'shapes'")

KINDS = {"box": trimesh.creation.box, "ball": lambda: trimesh.creation.icosphere(subdivisions=1)}
POINTS = pm.Points(count=48)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    lines = []
    for i in range(24):
        kind = list(KINDS)[i % 2]
        mesh = KINDS[kind]()
        mesh.apply_scale(1 + i)
        mesh.export(folder / f"{i}.ply")
        lines.append(f'{{"shape": "{i}.ply", "kind": "{kind}", "width": {float(np.ptp(mesh.vertices[:, 0])):.4f}}}\n')
    lines.append('{"kind": "ball", "width": 3.0}\n')
    (folder / "broken.glb").write_bytes(b"glTF")
    lines.append('{"shape": "broken.glb", "kind": "box", "width": 1.0}\n')
    (folder / "rows.jsonl").write_text("".join(lines))
    return folder / "rows.jsonl"


def test_shapes_go_all_the_way(table, tmp_path):
    fields = {"shape": POINTS, "kind": pm.Label(), "width": pm.Vector(1)}
    data = pm.load(table, fields, cache=tmp_path / "cache", validation=0.2, test=0.2)
    assert not data.rejected  # a bad cell costs the cell
    assert [cell.field for cell in data.bad_cells] == ["shape"]
    small = {"width": 16, "train.batch_size": 4, "train.validate_every": 1.0}
    run = pm.fit("any-to-any", data, steps=3, run=tmp_path / "run", set=small)
    made = run.generate({"kind": "box"}, to=["shape", "width"], n=2, seed=1)
    assert all(isinstance(shape, PointCloud) and shape.shape == (48, 3) for shape in made["shape"])
    alone = pm.open(tmp_path / "run").generate({"kind": "box"}, to=["shape", "width"], n=1, seed=1)
    np.testing.assert_allclose(alone["shape"][0], made["shape"][0], rtol=1e-4, atol=1e-4)
    for given in (table.parent / "1.ply", KINDS["ball"](), made["shape"][0]):
        assert run.generate({"shape": given}, to="kind")["kind"][0] in KINDS
    done = run.fill(table, tmp_path / "filled.jsonl", compare=False, root=table.parent)
    assert done.filled["shape"] == 1
    row = json.loads((tmp_path / "filled.jsonl").read_text().splitlines()[24])
    assert POINTS.read(tmp_path / row["shape"]).shape == (4, 48)
    card = run.evaluate(data.rows, training=data.train, judge_steps=3, n_rows=8)
    metrics = {score.metric for score in card.scores if score.direction.endswith("shape")}
    assert {"Chamfer distance", "1-NNA", "MMD", "COV"} <= metrics
    page = write_report(card, tmp_path / "report.html").read_text()
    assert "<canvas" in page
    assert "requestAnimationFrame" in page
