"""Rows that are read column by column: what they are called, and what they hold, is what it is one by one."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import polymodal as pm
from polymodal.data.sources import Block, Record, Rejection, Source, open_source
from polymodal.data.sources.base import in_blocks
from polymodal.modalities import MODALITIES

FIELDS = {"text": pm.Text(max_length=100), "kind": pm.Label(), "place": pm.Vector(2)}


LARGE = bytes(1 << 25)
PINNED = [
    "093565b35b70c1ef5e69924f1ccae49d",
    "621c4eb50160dfd50249c0e8f0595443",
    "786048d7ea83d84f193b8797677979d5",
]
"""Of the splits of ``table``, which are those of release after release."""


class OneByOne(Source):
    """The rows of another source, which has no columns."""

    def __init__(self, other: Source):
        super().__init__(other.name, other.files)
        self.records, self.columns = other.records, other.columns


@pytest.fixture
def table(tmp_path):
    """700 rows: texts that are missing, shared, long or too long; labels; vectors, some of them no numbers."""
    shared = "a long text that many rows share, of which there are fifty "
    texts = [shared + str(row % 50) if row % 3 else f"text {row}" for row in range(700)]
    texts[302] = "x" * 100
    lines = [
        {
            "text": text if row % 7 else None,
            "kind": "red" if row % 2 else "blue",
            "place": [float(row), 1 / (row + 1) if row % 90 != 5 else float("nan")],
        }
        for row, text in enumerate(texts)
    ]
    pa.parquet.write_table(pa.Table.from_pylist(lines), tmp_path / "rows.parquet", row_group_size=300)
    return tmp_path / "rows.parquet"


def names_of(data: pm.Data) -> list[object]:
    return [{name: rows.fingerprint for name, rows in data.splits.items()}, data.rejected, data.bad_cells, data.notes]


def test_rows_have_the_same_names_by_columns_and_one_by_one(table, tmp_path):
    together = pm.load(table, FIELDS, cache=tmp_path / "one")
    origin = open_source(table, tmp_path)
    assert names_of(together) == names_of(pm.load(OneByOne(origin), FIELDS, cache=tmp_path / "other"))
    assert len(together.bad_cells) == 1 + 8
    for row, place in zip(together.train, together.train.index.tolist(), strict=True):
        assert row["kind"] == ("red" if place % 2 else "blue")
        assert row["place"] is None or row["place"][0] == pytest.approx(place, abs=1e-3)
    assert len(pm.load(table, FIELDS, cache=tmp_path / "one", limit=301).rows) == 301


def test_names_are_those_that_they_have_always_been(table, tmp_path):
    """Or runs that were begun before would train on what was held out."""
    data = pm.load(table, FIELDS, cache=tmp_path / "cache")
    assert [rows.fingerprint for rows in data.splits.values()] == PINNED


def test_a_key_that_is_there_twice_costs_its_row_whenever_it_is_read(tmp_path):
    lines = [json.dumps({"text": f"text {row}", "place": [row, 1]}) for row in range(9)]
    lines[4] = '{"text": "one", "text": "two", "place": [4, 1]}'
    for good, name in ((8, "twice.jsonl"), (9, "once.jsonl")):
        (tmp_path / name).write_text("\n".join(lines))
        data = pm.load(tmp_path / name, {name: FIELDS[name] for name in ("text", "place")}, cache=tmp_path)
        rows = {row["text"]: row["place"][0] for row in data.rows}
        assert rows == pytest.approx({f"text {row}": row for row in range(9) if good == 9 or row != 4}, abs=1e-4)
        assert len(data.rejected) == 9 - good
        lines[4] = json.dumps({"text": "text 4", "place": [4, 1]})


def test_large_cells_are_few_in_a_block():
    rows = [Record("f", n, {"picture": bytes(1), "n": n}) for n in range(300)]
    rows[10:10] = [Record("f", -n, {"picture": LARGE}) for n in range(7)]
    rows[2] = Rejection("f", 2, None, "broken")
    blocks = list(in_blocks(rows, ["picture", "n", "more"]))
    sizes = [len(block) if isinstance(block, Block) else -1 for block in blocks]
    assert sizes == [2, -1, 9, 3, 3, 256, 33]
    assert set(blocks[0].cells) == {"picture", "n"}
    assert blocks[0].column("more") == [None, None]
    assert [record.cells["n"] for record in blocks[0].records()] == [0, 1]


def test_many_values_are_read_as_each_is():
    texts, places = ["", "red", "größer", "日本"], np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    text, vector = pm.Text(max_length=9), pm.Vector(2, mean=0.5, std=2.0)
    ids, lengths = text.read_many(texts)
    assert lengths == [len(text.read(one)) for one in texts]
    assert ids.tolist() == np.concatenate([text.read(one) for one in texts]).tolist()
    assert vector.read_many(list(places))[0].tolist() == [vector.read(one).tolist() for one in places]
    assert text.read_many([*texts, "longer than 8"]) is text.read_many([*texts, "\ud800"]) is None
    assert vector.read_many([*places, np.array([1.0, np.inf])]) is vector.read_many([[1.0, 2.0]]) is None


def test_a_modality_that_reads_in_its_own_way_reads_all(tmp_path, monkeypatch):
    class Loud(pm.Text):
        def read(self, raw):
            return super().read(raw.upper())

    monkeypatch.setitem(MODALITIES, "loud", Loud)
    data = pm.load([{"text": "red"}, {"text": "blue"}], {"text": Loud()}, cache=tmp_path)
    assert [row["text"] for row in data.rows] == ["RED", "BLUE"]
