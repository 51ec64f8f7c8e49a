"""Clips in files of every kind, with names: recognised, trained, generated, filled and scored, by their names alone."""

import json

import numpy as np
import pytest
from PIL import Image as PILImage

import polymodal as pm
from polymodal.cli.main import main
from polymodal.modalities.video import Clip


def a_clip(i: int, frames: int) -> Clip:
    """A square of one of three colours that moves right or left."""
    pixels = np.full((frames, 24, 24, 3), 255, np.uint8)
    for t in range(frames):
        x = t if i % 2 else 16 - t
        pixels[t, 8:16, x : x + 8] = np.eye(3)[i % 3] * 255
    return Clip(pixels, 8.0)


@pytest.fixture
def rows(tmp_path):
    lines = []
    for i in range(60):
        name = f"{i}{('.mp4', '.webp', '.gif')[i % 3]}"
        a_clip(i, 4 + i % 5).save(tmp_path / name)
        colour, way = ("red", "green", "blue")[i % 3], ("left", "right")[i % 2]
        lines.append({"clip": name, "name": f"{colour} {way} {i}"})
    Clip(np.zeros((500, 16, 16, 3), np.uint8), 1.0).save(tmp_path / "long.mp4")
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "0.mp4").read_bytes()[:200])
    lines += [{"clip": "long.mp4", "name": "too long"}, {"clip": "broken.mp4", "name": "broken"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path / "rows.jsonl"


def test_from_files_to_a_report(rows, tmp_path, capsys):
    data = pm.load(rows, cache=tmp_path / "cache", validation=0.2, test=0.2)
    assert [type(modality) for modality in data.fields.values()] == [pm.Video, pm.Text]
    assert sorted(rejection.reason[:8] for rejection in data.bad_cells) == ["500.00 s", "not read"]
    assert len(data.rows) == 62, "a clip that cannot be read costs no row"
    small = {"width": 16, "train.batch_size": 4, "train.validate_every": 1.0, "train.codec_steps": 2}
    small |= {
        "defaults.video.head.hidden_size": 32,
        "defaults.video.head.steps": 2,
        "defaults.video.codec.channels": [8, 16],
    }
    run = pm.fit("any-to-any", data, steps=2, run=tmp_path / "run", set=small)

    assert main(["generate", str(tmp_path / "run"), "--to", "clip", "--name", "red left", "-o", str(tmp_path)]) == 0
    path = capsys.readouterr().out.strip().splitlines()[-1]
    with PILImage.open(path) as made:
        assert made.format == "WEBP"
    (clip,) = run.generate({"name": "red left"}, to="clip")["clip"]
    clip.save(tmp_path / "made.mp4")
    again = data.fields["clip"].read(tmp_path / "made.mp4")
    assert again.shape == (len(clip), 3, 64, 64)
    assert run.generate({"clip": tmp_path / "1.webp"}, to="name")["name"]

    table = tmp_path / "table.jsonl"
    table.write_text('{"name": "red left"}\n')
    run.fill(table, tmp_path / "filled.jsonl", columns=["clip"])
    (line,) = map(json.loads, (tmp_path / "filled.jsonl").read_text().splitlines())
    assert len(data.fields["clip"].read(tmp_path / line["clip"])) >= 1

    card = run.evaluate(data.rows, training=data.train, judge_steps=2, n_rows=60)
    metrics = {score.metric for score in card.scores}
    assert "movement, over real" in metrics
