"""``polymodal calibrate``, and ``polymodal fill`` with confidences: as a user types it, killed and started again."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet
import pytest

import polymodal as pm
from polymodal import kept as kept_by_run
from polymodal.cli.main import main
from polymodal.fill import _Job


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A copy of the run, calibrated."""
    folder = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(trained, folder)
    assert main(["calibrate", str(folder), "--cells", "100", "--judge-steps", "0"]) == 0
    return folder


@pytest.fixture
def table(tmp_path):
    some = [("red disc", None), (None, "blue"), ("blue square", "blue"), (None, None)]
    rows = [{"id": i, "name": some[i % 4][0], "colour": some[i % 4][1], "note": "é"} for i in range(600)]
    path = tmp_path / "table.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_confidences_stand_beside_the_same_cells(run, table, tmp_path, capsys):
    plain, told = tmp_path / "plain.jsonl", tmp_path / "told.jsonl"
    assert main(["fill", str(run), str(table), "-o", str(plain)]) == 0
    assert main(["fill", str(run), str(table), "-o", str(told), "--confidence"]) == 0
    for source, one, other in zip(read_lines(table), read_lines(plain), read_lines(told), strict=True):
        confidences = {key: other.pop(key) for key in list(other) if key.endswith("_confidence")}
        assert one == other
        filled = {f"{key}_confidence" for key in ("name", "colour") if source[key] is None and one[key] is not None}
        assert set(confidences) == filled
        assert all(0 <= value <= 1 for value in confidences.values())
    sure = sorted(value for row in read_lines(told) for key, value in row.items() if key.endswith("_confidence"))
    assert len(sure) == 300

    least = sure[150]
    some = tmp_path / "some.jsonl"
    capsys.readouterr()
    assert main(["fill", str(run), str(table), "-o", str(some), "--min-confidence", str(least)]) == 0
    for all_of, kept in zip(read_lines(told), read_lines(some), strict=True):
        for name in ("name", "colour"):
            if f"{name}_confidence" in all_of and all_of[f"{name}_confidence"] < least:
                assert kept[name] is None
                assert f"{name}_confidence" not in kept
            else:
                assert kept[name] == all_of[name]
    assert "left empty, below --min-confidence" in capsys.readouterr().out


def test_other_tables_have_the_columns_too(run, tmp_path):
    (tmp_path / "table.csv").write_text("name,colour\nred disc,\n,blue\nred disc,red\n")
    model = pm.open(run)
    model.fill(tmp_path / "table.csv", tmp_path / "filled.csv", confidence=True)
    lines = [line.split(",") for line in (tmp_path / "filled.csv").read_text().splitlines()]
    header = lines[0]
    assert sorted(header) == ["colour", "colour_confidence", "name", "name_confidence"]
    assert 0 <= float(lines[1][header.index("colour_confidence")]) <= 1
    assert lines[3][2:] == ["", ""]
    pa.parquet.write_table(pa.table({"name": ["red disc", None], "colour": [None, "blue"]}), tmp_path / "table.parquet")
    model.fill(tmp_path / "table.parquet", tmp_path / "filled.parquet", columns=["colour"], min_confidence=0)
    filled = pa.parquet.read_table(tmp_path / "filled.parquet")
    assert filled.column_names == ["name", "colour", "colour_confidence"]
    assert filled["colour_confidence"].type == pa.float64()
    assert filled["colour_confidence"].null_count == 1


def test_stopped_and_started_again_it_is_the_same(run, table, tmp_path, monkeypatch):
    model = pm.open(run)
    model.fill(table, tmp_path / "whole.jsonl", min_confidence=0.3)
    shard = _Job._shard

    def stops(self, number, *rest):
        if number == 1:
            raise KeyboardInterrupt
        return shard(self, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(_Job, "_shard", stops)
        with pytest.raises(KeyboardInterrupt):
            model.fill(table, tmp_path / "again.jsonl", min_confidence=0.3)
    with pytest.raises(pm.CheckpointError, match="begun with another min_confidence"):
        model.fill(table, tmp_path / "again.jsonl", min_confidence=0.2)
    with pytest.raises(pm.CheckpointError, match="begun with another calibration"):
        model.fill(table, tmp_path / "again.jsonl")
    done = model.fill(table, tmp_path / "again.jsonl", min_confidence=0.3)
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sum(done.filled.values()) + sum(done.unsure.values()) == 300


def test_what_is_wrong_is_said(run, table, tmp_path):
    model = pm.open(run)
    out = tmp_path / "out.jsonl"
    with pytest.raises(pm.ConfigError, match="min_confidence: 2 is not in"):
        model.fill(table, out, min_confidence=2)
    with pytest.raises(pm.ConfigError, match="calibration: 'picture' is not calibrated; name, colour, place are"):
        model.fill(table, out, columns=["picture"], confidence=True)
    calibration = model.calibrate(model.data().test, judge_steps=0, cells=20, options={"colour": {"temperature": 0.5}})
    with pytest.raises(pm.ConfigError, match="calibration: is of another model, other options"):
        model.fill(table, out, confidence=True, calibration=calibration)
    from polymodal.fill import fill

    with pytest.raises(pm.ConfigError, match="min_confidence: needs a calibration"):
        fill(model.model, table, out, min_confidence=0.5)


def test_fill_calibrates_a_run_that_is_not(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (tmp_path / "table.jsonl").write_text('{"name": "red disc"}\n')
    model = pm.open(run)
    calibration = model.calibrate(judge_steps=0, cells=30)
    (run / "calibration" / "calibration.json").unlink()
    assert list(calibration.calibrators) == ["name", "colour", "place"]
    from polymodal.evaluation import calibration as package

    real = package.calibrate
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "calibrate", lambda *a, **k: asked.append(1) or real(*a, **{**k, "cells": 30}))
        patch.setattr(kept_by_run, "judge", lambda *_: None)
        for name in ("a", "b"):
            model.fill(tmp_path / "table.jsonl", tmp_path / f"{name}.jsonl", columns=["colour"], confidence=True)
    assert asked == [1]
    assert (run / "calibration" / "calibration.json").exists()
