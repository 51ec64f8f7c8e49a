"""Every missing cell of a table, from the other cells of its row; killed and started again, the same."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

import polymodal as pm
from polymodal.cell_filler import CellFiller
from polymodal.cli.main import main

FAST = {"picture": {"steps": 1}, "tone": {"steps": 1}, "place": {"steps": 1}}


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_jsonl_is_filled_and_all_else_kept(trained, world, tmp_path, capsys):
    folder = tmp_path / "data"
    shutil.copytree(world, folder)
    lines = (folder / "rows.jsonl").read_bytes().splitlines(keepends=True)[:20]
    lines[3] = b"{ not json\n"
    lines[5] = b'{"id": 5, "name": 7, "colour": "red"}\n'
    lines[7] = (
        b'{"id":7,"colour":"gr\\u0065en","note":[1,{"a":null}],"place":[1,2],"name":"x","picture":"7.png","tone":"7.wav"}\n'
    )
    lines[8] = b'{"id": 8, "name": null}\n'
    lines[9] = '{"id": 9, "note": "é", "name": "red disc"}\n'.encode()
    (folder / "table.jsonl").write_bytes(b"".join(lines))

    assert main(["fill", str(trained), str(folder / "table.jsonl"), "-o", str(folder / "filled.jsonl")]) == 0
    shown = capsys.readouterr().out
    filled = (folder / "filled.jsonl").read_bytes().splitlines(keepends=True)
    assert len(filled) == len(lines)
    for row in (3, 7, 8):  # unreadable, complete, empty
        assert filled[row] == lines[row]
    assert filled[5].startswith(lines[5][:-2])  # a cell that cannot be read stays, and the others are filled
    assert set(json.loads(filled[5])) == {"id", "name", "colour", "picture", "tone", "place"}
    for words in ("row 4: not JSON", "row 6, field 'name'", "row 9: no field is present"):
        assert words in shown
    for old, new in zip(lines, filled, strict=True):
        if old != new:
            before, after = json.loads(old), json.loads(new)
            assert {key: value for key, value in before.items() if value is not None}.items() <= after.items()
            assert all(after[name] is not None for name in ("picture", "name", "tone", "colour", "place"))
    ninth = json.loads(filled[9])
    assert ninth["note"] == "é"
    assert ninth["colour"] in ("red", "green", "blue")
    assert len(ninth["place"]) == 2
    assert not (folder / "filled.jsonl.partial").exists()
    data = pm.load(
        folder / "filled.jsonl", {"picture": pm.Image(16), "tone": {"modality": "audio", "sample_rate_hz": 4000}}
    )
    assert len(data.rejected) == 2  # those that could not be read hold nothing to see or hear


def test_parquet_embeds_and_keeps_types(trained, world, tmp_path):
    rows = read_lines(world / "rows.jsonl")[:10]
    pictures = [(world / f"{row['id']}.png").read_bytes() if row.get("picture") else None for row in rows]
    sounds = [
        {"bytes": (world / f"{row['id']}.wav").read_bytes(), "path": "a.wav"} if row.get("tone") else None
        for row in rows
    ]
    table = pa.table(
        {
            "id": pa.array([row["id"] for row in rows], pa.int16()),
            "picture": pa.array(pictures, pa.binary()),
            "tone": pa.array(sounds, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            "colour": pa.array([row.get("colour") for row in rows]).dictionary_encode(),
            "place": pa.array([row.get("place") for row in rows], pa.list_(pa.float64())),
        },
        metadata={"kept": "yes"},
    )  # fmt: skip
    pa.parquet.write_table(table, tmp_path / "table.parquet")
    table = pa.parquet.read_table(tmp_path / "table.parquet")
    model = pm.open(trained)
    (tmp_path / "elsewhere").mkdir()
    done = model.fill(tmp_path / "table.parquet", tmp_path / "elsewhere" / "filled.parquet", options=FAST)
    filled = pa.parquet.read_table(done.path)
    assert filled.schema.equals(table.schema, check_metadata=True)
    assert filled["id"].equals(table["id"])
    assert [filled[name].null_count for name in filled.column_names] == [0] * 5
    for name in ("picture", "tone", "place"):
        for old, new in zip(table[name].to_pylist(), filled[name].to_pylist(), strict=True):
            assert old is None or old == new
    assert done.rows == 10
    assert done.filled == {name: table[name].null_count for name in ("picture", "tone", "colour", "place")}

    more = model.fill(tmp_path / "table.parquet", tmp_path / "named.parquet", columns=["name"])
    named = pa.parquet.read_table(more.path)
    assert named.column_names == [*table.column_names, "name"]
    assert named["name"].null_count == 0
    assert named["place"].equals(table["place"])


def test_a_csv_is_filled(trained, tmp_path, capsys):
    (tmp_path / "table.csv").write_text('id,name,colour,place\n1,"red, disc",,\n2,,blue,5 6\n3,too,many,cells,here\n')
    assert main(["fill", str(trained), str(tmp_path / "table.csv"), "-o", str(tmp_path / "filled.csv")]) == 0
    lines = (tmp_path / "filled.csv").read_text().splitlines()
    assert lines[0] == "id,name,colour,place"
    assert lines[1].startswith('1,"red, disc",')
    assert lines[2].endswith(",blue,5 6")
    assert lines[3] == "3,too,many,cells,here"
    assert "row 3: 5 cells under a header of 4" in capsys.readouterr().out


def big_table(world: Path, folder: Path) -> Path:
    """700 rows, so several shards, of text and labels and vectors: quick to fill."""
    rows = [
        {key: row.get(key) for key in ("id", "name", "colour", "place")} for row in read_lines(world / "rows.jsonl")
    ]
    lines = [json.dumps(rows[i % len(rows)] | {"id": i}) + "\n" for i in range(700)]
    path = folder / "big.jsonl"
    path.write_text("".join(lines))
    return path


def test_killed_and_started_again_it_goes_on(trained, world, tmp_path, monkeypatch):
    table = big_table(world, tmp_path)
    model = pm.open(trained)
    whole = model.fill(table, tmp_path / "whole.jsonl")

    partial = tmp_path / "filled.jsonl.partial"
    command = ["fill", str(trained), str(table), "-o", str(tmp_path / "filled.jsonl")]
    process = subprocess.Popen([sys.executable, "-m", "polymodal", *command], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (partial / "shard-000000.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -9
    assert not (tmp_path / "filled.jsonl").exists()

    damaged = tmp_path / "damaged.jsonl.partial"
    shutil.copytree(partial, damaged)
    part = damaged / "shard-000000.jsonl"
    part.write_bytes(part.read_bytes()[:-5])
    (damaged / "notes.txt").write_text("of the user")
    done = len(list(partial.glob("shard-*.json")))
    asked, changes = [], CellFiller.changes
    monkeypatch.setattr(CellFiller, "changes", lambda *args: asked.append(args) or changes(*args))

    again = model.fill(table, tmp_path / "filled.jsonl")
    assert len(asked) == 3 - done  # what is done is not done again
    assert not partial.exists()
    model.fill(table, tmp_path / "damaged.jsonl")
    assert len(asked) == 2 * (3 - done) + 1  # but for a part that is not what it was
    assert [left.name for left in damaged.iterdir()] == ["notes.txt"]
    for name in ("filled", "damaged"):
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert (again.rows, again.filled, again.rejected) == (whole.rows, whole.filled, whole.rejected)
    assert len(read_lines(tmp_path / "filled.jsonl")) == 700


def test_a_row_is_filled_alike_in_any_table(trained, world, tmp_path):
    """What is drawn depends on the seed and the row's number, not on the other rows."""
    table = big_table(world, tmp_path)
    lines = table.read_text().splitlines(keepends=True)[:40]
    others = [line if number == 33 else "{}\n" for number, line in enumerate(lines)]
    (tmp_path / "first.jsonl").write_text("".join(lines))
    (tmp_path / "second.jsonl").write_text("".join(others))
    model = pm.open(trained)
    made = []
    for name, seed in (("first", 0), ("second", 0), ("first", 1)):
        output = tmp_path / f"{name}-{seed}.jsonl"
        model.fill(tmp_path / f"{name}.jsonl", output, seed=seed)
        made.append(read_lines(output))
    first, second, other_seed = (rows[33] for rows in made)
    assert (first["name"], first["colour"]) == (second["name"], second["colour"])
    assert first["place"] == pytest.approx(second["place"], abs=1e-4)
    assert made[0] != made[2]
    assert other_seed["id"] == 33


def test_what_cannot_be_filled_is_said(trained, world, tmp_path):
    model, table = pm.open(trained), big_table(world, tmp_path)
    with pytest.raises(pm.ConfigError, match="columns: 'colur' is unknown; did you mean 'colour'"):
        model.fill(table, tmp_path / "out.jsonl", columns=["colur"])
    with pytest.raises(pm.ConfigError, match=r"the output's ending must be the table's, '\.jsonl'"):
        model.fill(table, tmp_path / "out.csv")
    with pytest.raises(pm.ConfigError, match="is the table itself"):
        model.fill(table, table)
    with pytest.raises(pm.ConfigError, match=r"output: .*big\.jsonl is a file"):
        model.fill(table)
    with pytest.raises(pm.ConfigError, match="how: 'mean' is neither 'best' nor 'draw'"):
        model.fill(table, tmp_path / "out.jsonl", how="mean")
    with pytest.raises(pm.ConfigError, match="options: 'picture' is unknown"):
        model.fill(table, tmp_path / "out.jsonl", options={"picture": {"steps": 1}})
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(pm.ConfigError, match="has no column that the model can fill; it can fill picture, name"):
        model.fill(tmp_path / "other.jsonl", tmp_path / "out.jsonl")
    model.fill(tmp_path / "other.jsonl", tmp_path / "out.jsonl", columns=["colour"])
    with pytest.raises(pm.CheckpointError, match="is there already"):
        model.fill(tmp_path / "other.jsonl", tmp_path / "out.jsonl", columns=["colour"])
    begun = tmp_path / "begun.jsonl.partial"
    begun.mkdir()
    (begun / "plan.json").write_text("{}")
    (begun / "shard-000000.json").write_text("{}")
    with pytest.raises(pm.CheckpointError, match="begun with another table"):
        model.fill(tmp_path / "other.jsonl", tmp_path / "begun.jsonl", columns=["colour"])
