"""Many tables embedded in groups of rows, by whoever comes, and searched from the disk."""

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

import polymodal as pm
from polymodal.bulk.embedding import EmbedTask, moments_of
from polymodal.bulk.plan import make_plan
from polymodal.bulk.worker import Job, Worker
from polymodal.cli.main import main

ROWS = {"a": 90, "b": 40}
GROUPS = {"group_rows": 64}
GIVEN = {"name": "red disc", "place": [8.0, 8.0]}


@pytest.fixture(scope="module")
def tables(world, tmp_path_factory) -> Path:
    """Two Parquet files of texts, labels and vectors with gaps; one vector is none."""
    folder, first = tmp_path_factory.mktemp("tables"), 0
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()]
    for name, count in ROWS.items():
        some = [{key: rows[(first + i) % len(rows)].get(key) for key in ("name", "colour")} for i in range(count)]
        for i, row in enumerate(some):
            row["place"] = [0.1 * (first + i), 16.0 - 0.1 * i] if i % 7 else None
        some[5]["place"] = [float("nan"), 1.0]
        pa.parquet.write_table(pa.Table.from_pylist(some), folder / f"{name}.parquet", row_group_size=30)
        first += count
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_shards_embed_what_one_process_embeds_and_a_search_finds_it(aligned, tables, tmp_path, capsys):
    model = pm.open(aligned)
    done = model.embed(tables, tmp_path / "one", bulk=GROUPS, print_progress=False)
    together = pa.concat_tables(pa.parquet.read_table(path) for path in sorted(tables.glob("*.parquet")))
    assert done.rows == len(together)
    assert done.filled["place"] == together["place"].drop_null().length() - 2
    assert [(bad.file, bad.row, bad.field) for bad in done.rejected] == [
        ("a.parquet", 6, "place"),
        ("b.parquet", 6, "place"),
    ]

    words = ["embed", str(aligned), str(tables), "-o", str(tmp_path / "two"), "--group-rows", "64", "--shard"]
    assert main([*words, "2/2"]) == 0
    with pytest.raises(pm.CheckpointError, match=r"2 of 3 groups are not embedded yet"):
        model.search(GIVEN, "place", index=tmp_path / "two")
    assert main([*words, "1/2"]) == 0
    assert contents(tmp_path / "two") == contents(tmp_path / "one")

    # What an actor of Ray does, once it has been sent the job.
    manifest = json.loads((tmp_path / "one" / ".embed" / "manifest.json").read_text())
    job = Job(make_plan(tables, 64), str(tmp_path / "sent"), EmbedTask(moments_of(manifest)))
    worker = Worker(model.model, pickle.loads(pickle.dumps(job)))
    assert [worker.do(number) for number in range(3)] == [True] * 3
    assert contents(tmp_path / "sent").items() < contents(tmp_path / "one").items()

    hits = model.search(GIVEN, "place", index=tmp_path / "one", k=5)
    in_memory = model.search(GIVEN, "place", index=tables, k=5)
    assert [hit.similarity for hit in hits] == pytest.approx([hit.similarity for hit in in_memory], abs=1e-5)
    assert [hit.row for hit in hits] == [hit.row for hit in in_memory]
    assert [hit.fields["name"] for hit in hits] == [together["name"][hit.row - 1].as_py() for hit in hits]
    capsys.readouterr()
    assert (
        main(
            ["search", str(aligned), "--index", str(tmp_path / "one"), "--to", "place", "--name", "red disc", "-k", "3"]
        )
        == 0
    )
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_what_others_have_embedded_is_refused(aligned, trained, tables, tmp_path):
    with pytest.raises(pm.ConfigError, match="search needs"):
        pm.open(trained).embed(tables, tmp_path / "out")
    model = pm.open(aligned)
    model.embed(tables / "b.parquet", tmp_path / "out", print_progress=False)
    with pytest.raises(pm.CheckpointError, match="another files"):
        model.embed(tables / "a.parquet", tmp_path / "out")
    manifest = tmp_path / "out" / ".embed" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"model": "another"}))
    with pytest.raises(pm.CheckpointError, match="by another model; embed the tables again"):
        model.index(tmp_path / "out")
