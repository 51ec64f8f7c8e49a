"""Loading: what is kept, what is set aside and why, how rows are split."""

import json
import os
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image as PILImage

import polymodal as pm
from polymodal import ConfigError, DataError

FIELDS = {"picture": pm.Image(size=8), "name": pm.Text(max_length=16), "style": pm.Label()}


def picture(colour="red", size=(10, 10)):
    file = BytesIO()
    PILImage.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def load(tmp_path):
    def load(source, fields=FIELDS, **options):
        return pm.load(source, fields, **{"cache": tmp_path / "cache", "validation": 0, "test": 0, **options})

    return load


@pytest.fixture
def manifest(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("red", "blue"):
        (folder / f"{name}.png").write_bytes(picture(name))

    def manifest(*rows):
        path = folder / "rows.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return manifest


GOOD = {"picture": "red.png", "name": "red", "style": "flat"}


def test_any_cell_may_be_missing(load, manifest):
    data = load(manifest(GOOD, {"name": "x"}, {"picture": "blue.png", "name": None, "style": ""}, {"style": "flat"}))
    assert data.rejected == []
    assert {name: has.tolist() for name, has in data.train.present.items()} == {
        "picture": [True, False, True, False],
        "name": [True, True, False, False],
        "style": [True, False, False, True],
    }
    row = data.train[2]
    assert row["picture"].getpixel((0, 0)) == (0, 0, 255)
    assert row["name"] is None
    assert data.train[0]["name"] == "red"
    assert data.train[-1] == {"picture": None, "name": None, "style": "flat"}
    with pytest.raises(IndexError):
        data.train[4]


def bad_rows(folder):
    """Each with its field and reason."""
    noise = BytesIO()
    PILImage.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(noise, "PNG")
    (folder / "broken.png").write_bytes(noise.getvalue()[:1000])
    (folder / "folder.png").mkdir(exist_ok=True)
    (folder.parent / "secret.png").write_bytes(picture())
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    return [
        ({"name": 5}, "name", "5 (int) is not a string"),
        ({"name": ["a"]}, "name", "['a'] (list) is not a string"),
        ({"name": "x" * 16}, "name", "the text has 16 bytes; max_length 16 holds 15"),
        ({"name": "\ud800"}, "name", "the text holds a lone surrogate at character 0, which is no Unicode"),
        ({"picture": "no.png"}, "picture", "the path 'no.png' is no file in the data folder"),
        ({"picture": "folder.png"}, "picture", "the path 'folder.png' is no file in the data folder"),
        ({"picture": "../secret.png"}, "picture", "the path '../secret.png' leaves the data folder"),
        ({"picture": "link.png"}, "picture", "the path 'link.png' leaves the data folder"),
        ({"picture": "/etc/passwd"}, "picture", "the path '/etc/passwd' leaves the data folder"),
        ({"picture": "a\0b.png"}, "picture", "the path holds a zero byte"),
        ({"picture": "broken.png"}, "picture", "cannot decode the picture: "),
        ({"picture": 7}, "picture", "a int is not a picture"),
        ({}, None, "no field is present (picture, name, style)"),
        ({"other": 1}, None, "no field is present (picture, name, style)"),
        ("{broken", None, "not JSON: Expecting property name"),
        ("[1, 2]", None, "not a JSON object but list"),
        ("[" * 100_000, None, "not JSON: "),
    ]


def test_bad_rows_are_set_aside_and_good_ones_kept(load, manifest, tmp_path):
    cases = bad_rows(tmp_path / "data")
    rows = [row for bad, *_ in cases for row in (GOOD, bad)]
    for _ in range(2):  # the second time from the cache
        data = load(manifest(*rows))
        assert len(data.train) == len(cases)
        assert len(data.rejected) == len(cases)
        for i, (rejection, (_, field, reason)) in enumerate(zip(data.rejected, cases, strict=True)):
            assert (rejection.file, rejection.row, rejection.field) == ("rows.jsonl", 2 * i + 2, field)
            assert rejection.reason.startswith(reason)
            assert str(rejection).startswith(f"rows.jsonl, row {2 * i + 2}")


def test_strict_raises_at_the_first(load, manifest, tmp_path):
    for bad, field, reason in bad_rows(tmp_path / "data"):
        with pytest.raises(DataError) as error:
            load(manifest(GOOD, bad), strict=True)
        where = "rows.jsonl, row 2" + (f", field '{field}'" if field else "")
        assert str(error.value).startswith(f"{where}: {reason}")


def test_nothing_that_the_user_owns_changes(load, manifest, tmp_path):
    path = manifest(GOOD, {"name": 5})
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.parent.iterdir()}
    load(path)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.parent.iterdir()} == before


def test_no_usable_row(load, manifest):
    with pytest.raises(DataError) as error:
        load(manifest({"name": 5}, {"picture": "no.png", "style": "a"}))
    assert str(error.value) == (
        "rows.jsonl: none of its 2 rows can be used; "
        "the first: rows.jsonl, row 1, field 'name': 5 (int) is not a string"
    )


def test_wrong_columns_and_fields(load, manifest):
    path = manifest(GOOD)
    for call, kind, message in [
        (
            lambda: load(path, {"nam": pm.Text()}),
            DataError,
            "rows.jsonl: fields.nam.column: 'nam' is unknown; did you mean 'name'? (name, picture, style)",
        ),
        (
            lambda: load(path, key="nane"),
            DataError,
            "rows.jsonl: key column: 'nane' is unknown; did you mean 'name'? (name, picture, style)",
        ),
        (
            lambda: load(path, split="fold"),
            DataError,
            "rows.jsonl: split column: 'fold' is unknown; (name, picture, style)",
        ),
        (lambda: load(path, {}), ConfigError, "fields: none given; {'picture': pm.Image(size=64)} is an example"),
        (lambda: load(path, {"a": 5}), ConfigError, "fields.a.modality: 5 is no modality, nor the name of one"),
        (
            lambda: load(path, validation=0.6, test=0.5),
            DataError,
            "validation 0.6 and test 0.5 must be fractions that leave some rows to train on",
        ),
        (
            lambda: load(path).train.column("nam"),
            DataError,
            "rows.jsonl: column: 'nam' is unknown; did you mean 'name'?",
        ),
    ]:
        with pytest.raises(kind) as error:
            call()
        assert str(error.value).startswith(message)


def test_fields_as_mappings(load, manifest):
    fields = {"photo": {"modality": "image", "size": 4, "column": "picture"}, "name": {"modality": pm.Text()}}
    data = load(manifest(GOOD), fields)
    assert data.train[0]["photo"].size == (4, 4)
    assert data.train.column("photo") == ["red.png"]
    with pytest.raises(ConfigError, match=r"^fields\.photo\.modality: 'imge' is unknown; did you mean 'image'\?"):
        load(manifest(GOOD), {"photo": {"modality": "imge"}})


def test_the_users_modalities_are_not_changed(load, manifest):
    label = pm.Label()
    data = load(manifest(GOOD), {"style": label})
    assert label.names is None
    assert data.fields["style"].names == ["flat"]


def test_learned_from_training_rows_only(load):
    rows = [{"v": [float(i)], "c": "ab"[i % 2], "split": "train" if i < 4 else "test"} for i in range(8)]
    data = load(rows, {"v": pm.Vector(size=1), "c": pm.Label()})
    assert data.fields["v"].mean == [1.5]
    rows[7]["c"] = "seen in the test only"
    data = load(rows, {"c": pm.Label()})
    assert data.fields["c"].names == ["a", "b", "seen in the test only"]
    assert data.rejected == []


def test_limit(load):
    assert len(load([{"name": str(i)} for i in range(9)], {"name": pm.Text()}, limit=4).train) == 4


class TestSplits:
    fields = {"name": pm.Text(max_length=16)}  # noqa: RUF012

    def names(self, rows):
        return [row["name"] for row in rows]

    def test_by_hash_of_the_content_is_stable_when_rows_are_added(self, load):
        rows = [{"name": f"row {i}"} for i in range(400)]
        options = {"validation": 0.1, "test": 0.2}
        old, new = load(rows[:300], self.fields, **options), load(rows[::-1], self.fields, **options)
        assert 35 < len(old.test) < 85
        assert 15 < len(old.validation) < 50
        for split in ("train", "validation", "test"):
            assert set(self.names(old.splits[split])) <= set(self.names(new.splits[split]))
        assert len(new.train) + len(new.validation) + len(new.test) == 400

    def test_rows_that_share_a_key_stay_together(self, load):
        rows = [{"name": f"row {i}", "who": f"person {i // 5}"} for i in range(100)]
        data = load(rows, self.fields, key="who", test=0.3, validation=0.3)
        people = [set(split.column("who")) for split in data.splits.values()]
        assert all(people)
        assert not people[0] & people[1]
        assert not people[0] & people[2]
        assert not people[1] & people[2]

    def test_an_empty_key_is_set_aside(self, load):
        data = load([{"name": "a", "who": 1}, {"name": "b", "who": None}], self.fields, key="who")
        assert [str(rejection) for rejection in data.rejected] == ["rows, row 2: the key column 'who' is empty"]

    def test_given_by_a_column(self, load):
        rows = [{"name": f"{i}", "split": name} for i, name in enumerate(["train", "val", "test", "Train", "dev"])]
        data = load(rows, self.fields, test=0.5)
        assert self.names(data.train) == ["0", "3"]
        assert self.names(data.validation) == ["1", "4"]
        assert self.names(data.test) == ["2"]

    def test_a_column_of_another_name_with_a_bad_cell(self, load):
        rows = [{"name": "a", "fold": "train"}, {"name": "b", "fold": "tset"}, {"name": "c", "fold": None}]
        data = load(rows, self.fields, split="fold")
        assert [str(rejection) for rejection in data.rejected] == [
            "rows, row 2: split: 'tset' is unknown; did you mean 'test'? (test, train, validation)",
            "rows, row 3: split: 'None' is unknown; (test, train, validation)",
        ]

    def test_a_column_called_split_that_holds_no_splits_is_left_alone(self, load):
        data = load([{"name": "a", "split": "banana"}, {"name": "b", "split": "ice"}], self.fields)
        assert len(data.train) == 2

    def test_validation_is_taken_from_training_where_the_column_names_none(self, load):
        rows = [{"name": f"row {i}", "split": "test" if i < 50 else "train"} for i in range(200)]
        data = load(rows, self.fields, validation=0.2)
        assert len(data.test) == 50
        assert 10 < len(data.validation) < 60
        assert len(data.train) + len(data.validation) == 150


def test_the_same_picture_is_stored_once(load, manifest):
    embedded = (manifest(GOOD).parent / "red.png").read_bytes()
    data = load(manifest(*[{**GOOD, "name": str(i)} for i in range(10)]))
    assert len(data.train.columns["picture"].values) == 1
    assert len(data.train.unique("picture")) == 1
    again = load([{"picture": embedded}], {"picture": pm.Image(size=8)})
    assert again.train.columns["picture"].key == data.train.columns["picture"].key


def test_a_changed_file_is_decoded_again(load, manifest):
    path = manifest(GOOD)
    first = load(path).train
    status = (path.parent / "red.png").stat()
    (path.parent / "red.png").write_bytes(picture("lime"))
    os.utime(path.parent / "red.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    second = load(path).train
    assert second[0]["picture"].getpixel((0, 0)) == (0, 255, 0)
    assert first.fingerprint != second.fingerprint


def test_parquet_with_embedded_files_vectors_and_nulls(load, tmp_path):
    table = pa.table(
        {
            "picture": [{"bytes": picture("red"), "path": "a.png"}, None, {"bytes": None, "path": "../b.png"}],
            "name": ["a", None, "c"],
            "v": pa.array([[1.0, 2.0], [3.0, 4.0], None], pa.list_(pa.float32())),
            "n": [1.5, None, 2.5],
        }
    )
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    fields = {"picture": pm.Image(size=4), "name": pm.Text(), "v": pm.Vector(size=2), "n": pm.Vector(size=1)}
    data = load(tmp_path / "t.parquet", fields)
    (rejection,) = data.rejected
    assert str(rejection).startswith("t.parquet, row 3, field 'picture': the path '../b.png' leaves the data folder")
    assert data.train[0]["picture"].getpixel((0, 0)) == (255, 0, 0)
    np.testing.assert_allclose(data.train[1]["v"], [3, 4])
    assert data.train.present["n"].tolist() == [True, False]
    assert data.train.column("n") == [1.5, None]


def test_broken_parquet(load, tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"^t\.parquet: cannot be read: "):
        load(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "..", "type", "values", "training", "setdefault"])
def test_names_that_no_field_can_have(load, manifest, name):
    with pytest.raises(ConfigError, match="cannot be a field's name"):
        pm.load([{"x": "a"}], {name: {"modality": "text", "column": "x"}})
