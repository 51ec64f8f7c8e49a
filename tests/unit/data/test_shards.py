"""Rows in shards: the same, in the same order, as if all were in memory; and no more of them on the disk than said."""

import io
import json
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import polymodal as pm
from polymodal.data.order import Order
from polymodal.data.sharded_rows import ShardedRows
from polymodal.data.shards import bytes_of
from polymodal.nn.random import make_keys
from polymodal.training.step_loader import StepLoader
from polymodal.types import Task

SHARDS, ROWS = 30, 8
FIELDS = {
    "name": {"modality": "text", "max_length": 12},
    "colour": {"modality": "label"},
    "place": {"modality": "vector", "size": 2},
}
RECIPE = {"width": 16, "fields": FIELDS, "train": {"steps": 9, "batch_size": 32, "checkpoint_steps": 4}}


def table(shard: int) -> dict[str, list]:
    random = np.random.default_rng(shard)
    colours = random.choice(["red", "green", "blue"], ROWS).tolist()
    rows = {
        "name": [f"{colour} {shard * ROWS + n}" for n, colour in enumerate(colours)],
        "colour": colours,
        "place": random.normal(size=(ROWS, 2)).tolist(),
    }
    for cells in rows.values():
        cells[random.integers(ROWS)] = None
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(SHARDS):
        pq.write_table(pa.table(table(shard)), folder / f"rows-{shard:02d}.parquet")
    return folder


@pytest.fixture(scope="module")
def sharded(folder, tmp_path_factory) -> pm.Data:
    """With room for a tenth of what is decoded."""
    cache = tmp_path_factory.mktemp("decoded")
    whole = pm.load(str(folder / "*.parquet"), FIELDS, cache=cache, shards={"window": 2, "sample_rows": 150})
    megabytes = 1e-6 * whole.train.store.bytes.sum() / 10 + 1e-4
    shards = {"window": 2, "sample_rows": 150, "cache_megabytes": megabytes}
    return pm.load(str(folder / "*.parquet"), FIELDS, cache=cache, shards=shards)


def test_weights_are_those_of_the_same_rows_in_memory(folder, sharded, tmp_path):
    memory = pm.load(folder, sharded.fields, group=False)
    assert isinstance(sharded.train, ShardedRows)
    assert {name: len(rows) for name, rows in memory.splits.items()} == {n: len(r) for n, r in sharded.splits.items()}
    memory.train.order = sharded.train.order
    runs = {}
    for name, data in (("memory", memory), ("shards", sharded)):
        runs[name] = pm.fit(RECIPE, data, run=tmp_path / name, print_progress=False).model.state_dict()
        if name == "shards":
            held = sum(each.bytes for each in sharded.train.store.cache._ready.values())
            assert held <= sharded.train.store.cache.most_bytes
            assert bytes_of(sharded.train.store.cache.folder) <= 1.1 * sharded.train.store.cache.most_bytes
    assert all(torch.equal(runs["memory"][key], value) for key, value in runs["shards"].items())
    again = pm.open(tmp_path / "shards").data()
    assert again.train.columns.keys() == FIELDS.keys(), "what looks at whole columns is given the sample"
    assert len(again.train) == len(sharded.train.in_memory)
    assert again.test.fingerprint == sharded.test.fingerprint


def test_a_second_opening_reads_no_shard(folder, tmp_path, monkeypatch):
    options = {"cache": tmp_path, "shards": {"window": 2, "sample_rows": 40, "held_out": 5}}
    first = pm.load(str(folder / "*.parquet"), FIELDS, **options)
    monkeypatch.setattr("polymodal.data.shards.Shard.fetched", lambda *_: pytest.fail("a shard was read"))
    again = pm.load(str(folder / "*.parquet"), FIELDS, **options)
    assert again.train.fingerprint == first.train.fingerprint
    assert [len(rows) for rows in again.splits.values()] == [len(rows) for rows in first.splits.values()]
    assert len(again.validation) == 5
    assert any("40 of" in note and "data.shards.sample_rows" in note for note in again.notes)
    assert [str(row["name"]) for row in again.validation] == [str(row["name"]) for row in first.validation]


def test_tars_are_fetched_from_anywhere_that_fsspec_reaches(tmp_path):
    system = fsspec.filesystem("memory")
    for shard in range(3):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for number in range(6):
                content = json.dumps({"name": f"row {shard}-{number}", "colour": ["red", "blue"][number % 2]}).encode()
                member = tarfile.TarInfo(f"{number}.json")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        system.pipe_file(f"/box/part-{shard}.tar", packed.getvalue())
    fields = {name: FIELDS[name] for name in ("name", "colour")}
    data = pm.load("memory://box/part-{0..2}.tar", fields, cache=tmp_path, validation=0, test=0, shards={"window": 1})
    assert sorted(str(row["name"]) for row in data.train) == sorted(f"row {s}-{n}" for s in range(3) for n in range(6))
    assert not list((tmp_path / "shards" / "fetched").glob("*.tar"))
    system.rm("/box", recursive=True)


def test_what_cannot_be_is_refused(folder, tmp_path):
    with pytest.raises(pm.DataError, match=r"no-such.*no shards|there are no shards"):
        pm.load(str(folder / "no-such-*.parquet"), FIELDS, cache=tmp_path, shards={})
    with pytest.raises(pm.ConfigError, match=r"data\.shards\.cache_megabytes: 0\.0001 are too few.*raise it to"):
        pm.load(str(folder / "*.parquet"), FIELDS, cache=tmp_path, shards={"cache_megabytes": 1e-4})
    rows = pm.load(str(folder / "*.parquet"), FIELDS, cache=tmp_path, shards={}).train

    class Sampling:
        pass

    with pytest.raises(pm.ConfigError, match=r"tasks\.sampling: rows in shards"):
        StepLoader(rows, lambda present, keys: Task({}, present), batch_size=4, sampling=Sampling())
    with pytest.raises(pm.DataError, match="take their"):
        rows.without("name", np.zeros(len(rows), bool))


def test_an_order_visits_every_row_once_and_windows_one_after_the_other():
    order, key = Order(np.array([30, 0, 50, 20, 70, 40]), window=2), make_keys(3, 1)
    places = torch.arange(len(order))
    rows = order.at(key, places)
    assert sorted(rows.tolist()) == places.tolist()
    shard = np.repeat(np.arange(6), order.sizes)[rows.numpy()]
    spans = [np.flatnonzero(shard == number)[[0, -1]] for number in np.unique(shard)]
    inside = np.array([[begin <= place <= end for begin, end in spans] for place in places.tolist()])
    assert inside.sum(1).max() == 2, "rows of two shards are mixed, and of no third one"
    for begin in (0, 7, 20):  # from anywhere, the same
        assert torch.equal(Order(order.sizes, 2).at(key, places[begin:]), rows[begin:])
    assert not torch.equal(order.at(make_keys(4, 1), places), rows)


@pytest.mark.parametrize("gaps", [False, True])
def test_rows_that_share_something_are_in_one_split_wherever_they_lie(tmp_path, gaps):
    """As they are if all lie in one table: a row shares a text with another, which shares one with a third."""
    random, story = np.random.default_rng(0), "one of the long texts that tell which row it is, as pictures do: no."
    tables = []
    for shard in range(6):
        rows = {
            "one": [f"{story} {random.integers(60)}" for _ in range(40)],
            "two": [f"{story} {100 + random.integers(400)}" for _ in range(40)],
            "name": [f"{shard} {n}" for n in range(40)],
        }
        rows["one"][:36] = [None] * 36  # or all would be one group
        rows["two"][:9] = [f"{story} {shard}000"] * 9
        if gaps:
            rows["split"] = ["test" if n % 5 == shard else None for n in range(40)]
        tables.append(pa.table(rows))
        pq.write_table(tables[-1], tmp_path / f"rows-{shard}.parquet")
    # In one shard most rows share a text, of all rows few.
    tables.append(
        pa.table({"one": [None] * 9, "two": [f"{story} 7"] * 8 + [None], "name": [f"6 {n}" for n in range(9)]})
    )
    pq.write_table(tables[-1], tmp_path / "rows-6.parquet")
    fields = {name: {"modality": "text", "max_length": 80} for name in ("one", "two", "name")}
    options = {"validation": 0.2, "test": 0.3, "cache": tmp_path / "cache"}
    whole = pm.load(pa.concat_tables(tables, promote_options="default"), fields, **options)
    parts = pm.load(str(tmp_path / "rows-*.parquet"), fields, shards={"window": 2}, **options)
    for name, rows in whole.splits.items():
        assert sorted(rows.index.tolist()) == sorted(parts.splits[name].index.tolist()), name
    assert parts.settings["group"] is True
    alone = pm.load(str(tmp_path / "rows-*.parquet"), fields, shards={"window": 2}, group=False, **options)
    assert sorted(alone.train.index.tolist()) != sorted(parts.train.index.tolist())


def test_most_rows_in_one_group_are_trained_on(tmp_path):
    texts = ["the one long text that nearly all rows of all shards have in common, as it happens"] * 12
    for shard in range(3):
        table = {"text": [*texts, None], "name": [f"{shard} {n}" for n in range(13)]}
        pq.write_table(pa.table(table), tmp_path / f"rows-{shard}.parquet")
    fields = {"text": pm.Text(max_length=100), "name": pm.Text()}
    data = pm.load(str(tmp_path / "*.parquet"), fields, shards={"window": 2}, cache=tmp_path / "cache", test=0.4)
    assert {*range(39)} - {12, 25, 38} <= {*data.train.index.tolist()}
    assert any(note.startswith("36 of 39 rows are one group") for note in data.notes)
