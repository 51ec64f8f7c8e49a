"""Scans that are kept: the second load of a table gives what the first gave, and reads no row."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import polymodal as pm
from polymodal.data.sources.tables import Tables

FIELDS = {
    "name": {"modality": "text", "max_length": 8},
    "kind": {"modality": "label"},
    "place": {"modality": "vector", "size": 2},
}


def write(path: Path, rows: int = 40) -> Path:
    lines = [{"name": f"n{i % 7}", "kind": "ab"[i % 2], "place": [i, i * i], "split": None} for i in range(rows)]
    lines[3]["name"] = "far too long a name"  # a bad cell
    lines[4] = {"name": "far too long a name, and nothing else"}
    del lines[5]["kind"]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "{ not JSON\n")
    return path


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Tables of tests have just been written."""
    monkeypatch.setattr("polymodal.data.sources.tables.SETTLE_SECONDS", 0.0)


def told(data: pm.Data) -> list:
    splits = [(rows.fingerprint, rows.index.tolist()) for rows in data.splits.values()]
    return [
        splits,
        data.fields["kind"].state(),
        data.fields["place"].state(),
        data.rejected,
        data.bad_cells,
        data.notes,
    ]


def test_the_second_load_reads_no_row(tmp_path, monkeypatch):
    table = write(tmp_path / "t.jsonl")
    first = pm.load(table, FIELDS, cache=tmp_path / "cache")
    assert (len(first.rejected), len(first.bad_cells)) == (2, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Tables, "blocks", lambda *_: pytest.fail("a row was read"))
        second = pm.load(table, FIELDS, cache=tmp_path / "cache")
    assert told(second) == told(first)
    assert str(second.train[0]) == str(first.train[0])
    assert second.rows.columns["name"].slots.dtype == np.int32
    assert second.train.column("kind") == first.train.column("kind")
    with pytest.raises(pm.DataError, match="row 4"):
        pm.load(table, FIELDS, cache=tmp_path / "cache", strict=True)


def test_what_is_asked_otherwise_is_read_again(tmp_path):
    table, cache = write(tmp_path / "t.jsonl"), tmp_path / "cache"
    first = pm.load(table, FIELDS, cache=cache)
    assert len(pm.load(table, FIELDS, cache=cache, test=0.5).test) > len(first.test)
    assert len(pm.load(table, FIELDS, cache=cache, limit=10).rows) == 9
    wider = pm.load(table, FIELDS | {"name": {"modality": "text", "max_length": 64}}, cache=cache)
    assert not wider.bad_cells
    assert told(pm.load(table, FIELDS, cache=cache)) == told(first)


def test_a_table_that_changed_is_read_again(tmp_path):
    table, cache = write(tmp_path / "t.jsonl"), tmp_path / "cache"
    first = pm.load(table, FIELDS, cache=cache)
    same_size = table.read_text().replace('"n6"', '"n8"')
    table.write_text(same_size)
    changed = pm.load(table, FIELDS, cache=cache)
    assert told(changed) != told(first)
    assert told(pm.load(table, FIELDS, cache=tmp_path / "other")) == told(changed)


def test_a_scan_or_column_that_is_broken_is_made_anew(tmp_path, caplog):
    table, cache = write(tmp_path / "t.jsonl"), tmp_path / "cache"
    first = pm.load(table, FIELDS, cache=cache)
    (scan,) = (cache / "scans").iterdir()
    (scan / "slots.npy").write_bytes(b"torn")
    assert told(pm.load(table, FIELDS, cache=cache)) == told(first)
    assert "is made anew" in caplog.text
    shutil.rmtree(cache / "columns")
    assert told(pm.load(table, FIELDS, cache=cache)) == told(first)


def test_a_scan_that_depends_on_more_than_the_table_is_not_kept(tmp_path, world):
    shutil.copytree(world, tmp_path / "world")
    fields = {"picture": {"modality": "image", "size": 16}, "colour": "label"}
    pm.load(tmp_path / "world" / "rows.jsonl", fields, cache=tmp_path / "cache")  # cells name files
    assert not (tmp_path / "cache" / "scans").exists()
    rows = [{"kind": "a"}, {"kind": "b"}]
    pm.load(rows, {"kind": "label"}, cache=tmp_path / "cache", validation=0, test=0)
    assert not (tmp_path / "cache" / "scans").exists()


def test_a_table_that_was_just_written_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("polymodal.data.sources.tables.SETTLE_SECONDS", 60.0)
    pm.load(write(tmp_path / "t.jsonl"), FIELDS, cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "scans").exists()
