"""Many tables filled in groups of rows, by whoever comes and goes: always the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest

import polymodal as pm
from polymodal.cell_filler import CellFiller
from polymodal.cli.main import main

ROWS = {"a": 400, "b": 150, "c": 300}
GROUP = {"group_rows": 256}


@pytest.fixture(scope="module")
def tables(world, tmp_path_factory) -> Path:
    """A folder of Parquet files of text, labels, vectors and pictures, with gaps."""
    folder = tmp_path_factory.mktemp("tables")
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()]
    names, first = ("id", "name", "colour", "place"), 0
    for name, count in ROWS.items():
        some = [
            {key: rows[(first + i) % len(rows)].get(key) for key in names} | {"id": first + i} for i in range(count)
        ]
        table = pa.Table.from_pylist(some)
        table = table.set_column(2, "colour", table["colour"].combine_chunks().dictionary_encode())
        pa.parquet.write_table(table, folder / f"{name}.parquet", row_group_size=70)
        first += count
    return folder


@pytest.fixture(scope="module")
def whole(trained, tables, tmp_path_factory) -> dict[str, bytes]:
    """What an undisturbed process of its own leaves."""
    output = tmp_path_factory.mktemp("whole") / "out"
    done = pm.open(trained).fill(tables, output, bulk=GROUP)
    assert done.rows == sum(ROWS.values())
    return contents(output)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_many_tables_are_filled_as_one(trained, tables, whole, tmp_path):
    together = pa.concat_tables(pa.parquet.read_table(path) for path in sorted(tables.glob("*.parquet")))
    pa.parquet.write_table(together, tmp_path / "one.parquet")
    done = pm.open(trained).fill(tmp_path / "one.parquet", tmp_path / "filled.parquet")
    parts = [pa.parquet.read_table(pa.BufferReader(whole[name])) for name in whole if name.startswith("part-")]
    assert [len(part) for part in parts] == [256, 144, 150, 256, 44]
    assert pa.concat_tables(parts).to_pylist() == pa.parquet.read_table(done.path).to_pylist()
    assert {part.schema for part in parts} == {together.schema}
    summary = json.loads(whole[".fill/summary.json"])
    assert (summary["filled"], summary["rows"]) == (done.filled, done.rows)
    assert summary["unreadable"] == len(done.rejected)
    manifest = json.loads(whole[".fill/manifest.json"])
    assert manifest["seed"] == 0
    assert len(manifest["model"]) == 64


def test_shards_anywhere_leave_the_same_bytes(trained, tables, whole, tmp_path, capsys):
    for shard in ("3/3", "1/3", "2/3"):
        words = ["--shard", shard, "--group-rows", "256"]
        assert (
            main(["fill", str(trained), *map(str, sorted(tables.iterdir())), "-o", str(tmp_path / "out"), *words]) == 0
        )
    assert contents(tmp_path / "out") == whole
    assert "out: 512 rows; filled" in capsys.readouterr().out
    files = fsspec.filesystem("memory")
    files.put(str(tables), "/many/in", recursive=True)
    done = pm.open(trained).fill("memory://many/in/*.parquet", "memory://many/out", bulk=GROUP)
    assert {path.removeprefix("/many/out/"): files.cat(path) for path in files.find("/many/out")} == whole
    assert done.rows == sum(ROWS.values())


def test_killed_and_started_again_it_goes_on_beside_others(trained, tables, whole, tmp_path, monkeypatch):
    output = tmp_path / "out"
    command = [sys.executable, "-m", "polymodal", "fill", str(trained), str(tables), "-o", str(output)]
    process = subprocess.Popen([*command, "--group-rows", "256"], stdout=subprocess.DEVNULL)
    while not (output / ".fill/notes/part-000000.parquet.json").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    done = len(list((output / ".fill" / "notes").glob("part-*")))
    asked, changes = [], CellFiller.changes
    monkeypatch.setattr(CellFiller, "changes", lambda *args: asked.append(args) or changes(*args))
    model = pm.open(trained)
    model.fill(tables, output, bulk=GROUP)
    assert len(asked) <= 5 - done  # one shard each; what is done is not done again
    assert contents(output) == whole
    (output / "part-000002.parquet").write_bytes(b"torn")
    asked.clear()
    model.fill(tables, output, bulk=GROUP)
    assert len(asked) == 1
    assert contents(output) == whole
    model.fill(tables, output, bulk=GROUP)
    assert len(asked) == 1


def test_what_cannot_be_filled_is_said(trained, tables, tmp_path):
    model, out = pm.open(trained), tmp_path / "out"
    with pytest.raises(pm.ConfigError, match="columns: 'colur' is unknown; did you mean 'colour'"):
        model.fill(tables, out, columns=["colur"])
    with pytest.raises(pm.ConfigError, match="name the folder to write to"):
        model.fill(tables)
    with pytest.raises(pm.ConfigError, match="what is made of many tables is a folder"):
        model.fill(tables, tmp_path / "out.parquet")
    with pytest.raises(pm.ConfigError, match="shard: 3/2 is none; 1/2 to 2/2 are"):
        model.fill(tables, out, bulk={"shard": (3, 2)})
    with pytest.raises(pm.ConfigError, match="engine: only for Parquet files"):
        model.fill(tables / "a.parquet", tmp_path / "b.parquet", bulk={"engine": "ray"})
    with pytest.raises(pm.ConfigError, match="overwrite"):
        model.fill(tables, out, overwrite=True, bulk={"shard": (1, 2)})
    with pytest.raises(pm.ConfigError, match="encoding"):
        model.fill(tables, out, encoding="cp1252")
    assert not out.exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("of the user")
    with pytest.raises(pm.CheckpointError, match="something in it already"):
        model.fill(tables, tmp_path / "other")
    model.fill(tables / "b.parquet", out, columns=["colour"])
    with pytest.raises(pm.CheckpointError, match="begun with another seed"):
        model.fill(tables / "b.parquet", out, columns=["colour"], seed=1)
    model.fill(tables / "b.parquet", out, columns=["colour"], seed=1, overwrite=True)
    assert json.loads((out / ".fill/manifest.json").read_text())["seed"] == 1
    assert main(["fill", str(trained), str(tables), "-o", str(out), "--shard", "0-3"]) == 2


@pytest.mark.filterwarnings("ignore")
def test_actors_of_ray_leave_the_same_bytes_though_one_is_killed(trained, tables, whole, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    try:
        leases, killed = tmp_path / "out" / ".fill" / "leases", []

        def kill() -> None:
            while not killed:
                for lease in leases.glob("part-*"):
                    if (words := lease.read_text().split()) and not killed:
                        killed.append(int(words[1]))
                        os.kill(killed[0], signal.SIGKILL)
                time.sleep(0.001)

        killer = Thread(target=kill, daemon=True)
        killer.start()
        pm.open(trained).fill(tables, tmp_path / "out", bulk=GROUP | {"engine": "ray", "workers": 1})
        assert killed
        killer.join()
        assert contents(tmp_path / "out") == whole
    finally:
        ray.shutdown()
