"""Rows in memory: whatever a program has is read, or refused in a sentence."""

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

import polymodal as pm
from polymodal import DataError
from polymodal.data import open_source

from .conftest import RATE, colour, png, put, sine, wav

ROWS = [{"name": f"row {i}", "v": [float(i), 2.0 * i]} for i in range(6)]
FIELDS = {"name": pm.Text(), "v": pm.Vector(2, mean=0, std=1)}
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


class Lazy:
    """A data set as torch has them: a length, and rows by number."""

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, place):
        return ROWS[place]  # as a list, it ends with an IndexError


def structured():
    array = np.zeros(6, dtype=[("name", "U8"), ("v", "f4", 2)])
    array["name"], array["v"] = COLUMNS["name"], COLUMNS["v"]
    return array


@pytest.mark.parametrize(
    "source",
    [
        ROWS,
        tuple(ROWS),
        COLUMNS,
        {"name": np.array(COLUMNS["name"]), "v": torch.tensor(COLUMNS["v"])},
        pd.DataFrame(ROWS),
        pa.Table.from_pylist(ROWS),
        pa.RecordBatch.from_pylist(ROWS),
        datasets.Dataset.from_list(ROWS),
        datasets.Dataset.from_list(ROWS).to_iterable_dataset(),
        structured(),
        Lazy(),
    ],
    ids=lambda source: type(source).__name__,
)
def test_kinds_of_rows(load, source):
    data = load(source, FIELDS)
    assert data.rejected == []
    assert [row["name"] for row in data.train] == COLUMNS["name"]
    np.testing.assert_array_equal([row["v"] for row in data.train], COLUMNS["v"])


def test_what_gives_rows_once_is_read_whole(load):
    for source in ((row for row in ROWS), iter(ROWS), pa.Table.from_pylist(ROWS).to_reader()):
        assert [row["name"] for row in load(source, FIELDS).train] == COLUMNS["name"]
        with pytest.raises(DataError, match=r"there are no rows|list\(\.\.\.\)"):
            load(source, FIELDS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (5, "not of type int"),
        (None, "not of type NoneType"),
        (b"rows.csv", "not of type bytes"),
        ({"a": [1, 2], "b": [1]}, "columns of different lengths: a 2, b 1"),
        ({"a": "text"}, "column 'a' is of type str"),
        (["a", "b"], "rows, row 1: a row is a mapping of columns to cells; this is of type str"),
        (pd.Series(["a", "b"], name="a"), "of type Series, which is no table; give {'name': column}"),
        (pa.chunked_array([["a", "b"]]), "of type ChunkedArray, which is no table"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "the column 'a' is there twice"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), "the column 'a' is there twice"),
    ],
)
def test_what_is_no_source(load, source, message):
    with pytest.raises(DataError) as error:
        load(source, {"a": pm.Label()})
    assert message in str(error.value)


def test_a_row_of_another_type_is_set_aside(load):
    data = load([{"name": "a"}, ("name", "b"), {"name": "c"}], {"name": pm.Text()})
    assert [row["name"] for row in data.train] == ["a", "c"]
    assert [(one.row, "tuple" in one.reason) for one in data.rejected] == [(2, True)]


def test_values_that_pandas_puts_for_none(load):
    frame = pd.DataFrame(
        {
            "name": pd.array(["a", None, "c", "d"], dtype="string"),
            "count": pd.array([1, 2, None, 4], dtype="Int64"),
            "kind": pd.Categorical(["x", "y", "x", None]),
        },
        index=pd.Index([f"id {i}" for i in range(4)], name="who"),
    )
    data = load(frame, {"name": pm.Text(), "count": pm.Vector(1), "kind": pm.Label(), "who": pm.Text()})
    assert data.train.column("name") == ["a", None, "c", "d"]
    assert data.train.column("count") == [1, 2, None, 4]
    assert data.train.column("kind") == ["x", "y", "x", None]
    assert data.train.column("who") == [f"id {i}" for i in range(4)]
    again = load(frame.to_dict("records"), {"name": pm.Text(), "count": pm.Vector(1)})
    assert again.train.present["name"].tolist() == [True, False, True, True]
    assert again.train.present["count"].tolist() == [True, True, False, True]


def test_scalars_and_tensors(load):
    rows = [
        {"v": torch.tensor([1.0, 2.0], requires_grad=True), "n": np.float32(3), "kind": np.int64(7)},
        {"v": torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "n": np.array(4.0), "kind": torch.tensor(8)},
    ]
    data = load(rows, {"v": pm.Vector(2, mean=0, std=1), "n": pm.Vector(1, mean=0, std=1), "kind": pm.Label()})
    assert data.rejected == []
    assert [(row["v"].tolist(), row["n"].tolist(), row["kind"]) for row in data.train] == [
        ([1, 2], [3], "7"),
        ([1, 2], [4], "8"),
    ]


@pytest.mark.parametrize("make", [list, pd.DataFrame, datasets.Dataset.from_list, pa.Table.from_pylist])
def test_splits_by_name(load, make):
    data = load({"train": make(ROWS[:4]), "test": make(ROWS[4:])}, FIELDS)
    assert [row["name"] for row in data.train] == COLUMNS["name"][:4]
    assert [row["name"] for row in data.test] == COLUMNS["name"][4:]


def test_a_split_of_another_name_is_not_mixed_with_the_test(load):
    parts = {"train": ROWS[:2], "test": ROWS[2:4], "unsupervised": ROWS[4:]}
    data = load(datasets.DatasetDict({name: datasets.Dataset.from_list(rows) for name, rows in parts.items()}), FIELDS)
    assert data.test.column("name") == COLUMNS["name"][2:4]
    assert data.train.column("split") == ["train", "train", "unsupervised", "unsupervised"]


def test_a_single_split_tells_nothing(load):
    rows = [{"name": f"row {i}"} for i in range(100)]
    data = load(datasets.DatasetDict(train=datasets.Dataset.from_list(rows)), {"name": pm.Text()}, test=0.2)
    assert 5 < len(data.test) < 40


def test_media_of_a_data_set_are_not_decoded(load, folder):
    paths = {"image": put(folder / "a.png", png("red")), "speech": put(folder / "a.wav", wav(440))}
    data = datasets.Dataset.from_dict({name: [str(path)] for name, path in paths.items()})
    data = data.cast_column("image", datasets.Image()).cast_column("speech", datasets.Audio())
    fields = {"image": pm.Image(4), "speech": pm.Audio()}
    for source in (data, datasets.DatasetDict(train=data), data.to_iterable_dataset()):
        loaded = load(source, fields)
        assert colour(loaded.train[0]) == (255, 0, 0)
        assert loaded.train.columns["speech"].lengths.tolist() == [7]


def test_paths_of_a_data_set_that_are_only_texts_are_not_opened(load, folder):
    path = str(put(folder / "a.png", png("red")))
    with pytest.raises(DataError, match=r"no folder that the path .* root="):
        load(datasets.Dataset.from_dict({"image": [path]}), {"image": pm.Image(4)})
    assert len(load(datasets.Dataset.from_dict({"image": [path]}), {"image": pm.Image(4)}, root=folder).train) == 1


class TestDecodedSound:
    """``{array, sampling_rate}``, as libraries give it."""

    def rows(self):
        return [
            {"sound": {"array": sine(400 * (i + 1)).tolist(), "path": None, "sampling_rate": RATE}, "name": str(i)}
            for i in range(3)
        ]

    def sounds(self, source, tmp_path, rate=RATE):
        """Samples of each row's sound, None where it has none."""
        origin, audio = open_source(source, tmp_path), pm.Audio(sample_rate_hz=rate)
        raws = (origin.raw(record, "sound", audio) for record in origin.records(["sound"]))
        return [None if raw is None else audio.samples(raw) for raw in raws]

    def test_of_every_source(self, folder, tmp_path):
        rows = self.rows()
        pa.parquet.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
        for source in (rows, folder / "rows.parquet", pa.Table.from_pylist(rows), datasets.Dataset.from_list(rows)):
            found = self.sounds(source, tmp_path)
            np.testing.assert_allclose(found, [sine(400 * i) for i in (1, 2, 3)], atol=1e-6)

    def test_channels_come_last(self, tmp_path):
        both = np.stack([sine(440), sine(880)])
        (found,) = self.sounds([{"sound": {"array": both, "sampling_rate": 16000.0}}], tmp_path, 16_000)
        np.testing.assert_allclose(found, both.mean(0), atol=1e-6)

    def test_loads(self, load):
        data = load(self.rows(), {"sound": pm.Audio(), "name": pm.Text()})
        assert data.train.columns["sound"].lengths.tolist() == [7, 7, 7]

    @pytest.mark.parametrize("sound", [{"array": ["x"], "sampling_rate": 5}, {"array": [0.1], "sampling_rate": "fast"}])
    def test_what_is_none(self, tmp_path, sound):
        with pytest.raises(DataError, match="not audio"):
            self.sounds([{"sound": sound}], tmp_path)

    def test_nothing(self, tmp_path):
        rows = [{"sound": {"array": None, "sampling_rate": None}}, {"sound": {"array": [], "sampling_rate": RATE}}]
        assert self.sounds(rows, tmp_path) == [None, None]
