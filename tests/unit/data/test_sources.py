"""Every kind of source gives the same rows."""

import csv
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image as PILImage

import polymodal as pm
from polymodal import DataError
from polymodal.data import BUILTIN, infer_fields
from polymodal.data.sources.shards import expand

FIELDS = {"picture": pm.Image(size=4), "name": pm.Text(max_length=16)}


def png(colour):
    file = io.BytesIO()
    PILImage.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def load(tmp_path):
    def load(source, fields=FIELDS, **options):
        return pm.load(source, fields, cache=tmp_path / "cache", validation=0, test=0, **options)

    return load


def tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


class TestCsv:
    def test_quoted_vectors_and_empty_cells(self, load, tmp_path):
        (tmp_path / "red.png").write_bytes(png("red"))
        with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file).writerows(
                [["picture", "name", "v"], ["red.png", "two\nlines", "[1, 2]"], ["", "x", "3 4"], ["red.png", "", ""]]
            )
        data = load(tmp_path / "rows.csv", {**FIELDS, "v": pm.Vector(size=2, mean=0, std=1)})
        assert data.rejected == []
        assert [row["name"] for row in data.train] == ["two\nlines", "x", None]
        assert data.train.present["picture"].tolist() == [True, False, True]
        assert data.train[1]["v"].tolist() == [3, 4]

    def test_rows_of_another_width_are_set_aside(self, load, tmp_path):
        (tmp_path / "rows.csv").write_text("picture,name\n,a\n,b,c\n,d\n")
        data = load(tmp_path / "rows.csv")
        assert [str(rejection) for rejection in data.rejected] == ["rows.csv, row 2: 3 cells under a header of 2"]
        assert data.train.column("name") == ["a", "d"]

    def test_broken_files(self, load, tmp_path):
        (tmp_path / "rows.csv").write_text("name,name\na,b\n")
        with pytest.raises(DataError, match=r"^rows\.csv: the header names the column 'name' twice$"):
            load(tmp_path / "rows.csv")
        (tmp_path / "rows.csv").write_bytes(b"picture,name\n,\xff\n")
        with pytest.raises(DataError, match=r"^rows\.csv, line 2: byte 0xff is no UTF-8; save the file as UTF-8"):
            load(tmp_path / "rows.csv")


class TestPictureFolder:
    fields = {"image": pm.Image(size=4), "label": pm.Label()}  # noqa: RUF012

    def make(self, folder, *paths):
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(png("red"))
        return folder

    def test_folders_are_labels(self, load, tmp_path):
        folder = self.make(tmp_path / "p", "cat/1.png", "cat/2.PNG", "dog/big/1.png", "none.png", "cat/.hidden")
        (folder / "cat" / "notes.txt").write_text("x")
        data = load(folder, self.fields)
        assert data.fields["label"].names == ["cat", "dog/big"]
        assert data.train.column("__key__") == ["none.png", "cat/1.png", "cat/2.PNG", "dog/big/1.png"]
        assert [row["label"] for row in data.train] == [None, "cat", "cat", "dog/big"]
        assert data.rejected == []
        assert data.notes == ["files that belong to no row: 1, the first 'cat/notes.txt'"]

    def test_top_folders_may_be_splits(self, load, tmp_path):
        data = load(self.make(tmp_path / "p", "train/cat/1.png", "test/cat/1.png", "val/dog/2.png"), self.fields)
        assert [len(rows) for rows in data.splits.values()] == [1, 1, 1]
        assert data.fields["label"].names == ["cat", "dog"]

    def test_empty(self, load, tmp_path):
        (tmp_path / "p").mkdir()
        with pytest.raises(DataError, match=r"the folder is empty$"):
            load(tmp_path / "p", self.fields)


class TestWebDataset:
    def test_members_group_by_key(self, load, tmp_path):
        tar(
            tmp_path / "s-0.tar",
            [
                ("a/001.png", png("red")),
                ("a/001.txt", b"red one\n"),
                ("a/001.json", json.dumps({"style": "flat"}).encode()),
                ("a/002.seg.png", png("blue")),
                ("a/002.txt", b"two"),
            ],
        )
        tar(tmp_path / "s-1.tar", [("b.cls", b"7"), ("b.txt", b"\xff"), ("c.json", b"{"), ("d.cls", b"7")])
        fields = {
            "picture": {"modality": "image", "size": 4, "column": "png;seg.png"},
            "name": {"modality": "text", "column": "txt"},
            "style": pm.Label(),
            "cls": pm.Label(),
        }
        for source in (tmp_path, str(tmp_path / "s-{0..1}.tar")):
            data = load(source, fields)
            assert [row["name"] for row in data.train] == ["red one", "two", None, None]
            assert [str(cell) for cell in data.bad_cells] == [
                "s-1.tar, row 1, field 'name': the text is not UTF-8: byte 0xff at 0"
            ]
            assert data.train.present["picture"].tolist() == [True, True, False, False]
            assert data.train[1]["picture"].getpixel((0, 0)) == (0, 0, 255)
            assert data.train.column("__key__") == ["a/001", "a/002", "b", "d"]
            assert data.train[0]["style"] == "flat"
            assert data.train[2]["cls"] == "7"
            assert [str(rejection) for rejection in data.rejected] == [
                "s-1.tar, row 2: its json is broken: Expecting property name enclosed in double quotes: "
                "line 1 column 2 (char 1)",
            ]

    def test_as_the_webdataset_library_writes_it(self, load, tmp_path):
        import webdataset

        with webdataset.TarWriter(str(tmp_path / "s.tar")) as writer:
            for i in range(5):
                writer.write(
                    {"__key__": f"{i:04d}", "png": PILImage.new("RGB", (4, 4)), "txt": f"row {i}", "cls": i % 2}
                )
        fields = {"png": pm.Image(size=4), "txt": pm.Text(), "cls": pm.Label()}
        data = load(tmp_path / "s.tar", fields)
        assert [row["txt"] for row in data.train] == [f"row {i}" for i in range(5)]
        assert data.train.present["png"].all()
        assert data.fields["cls"].names == ["0", "1"]

    def test_a_broken_shard_gives_what_it_can(self, load, tmp_path):
        whole = tar(tmp_path / "s.tar", [(f"{i}.txt", str(i).encode() * 600) for i in range(4)])
        whole.write_bytes(whole.read_bytes()[: 3 * 1536 + 700])
        data = load(whole, {"txt": pm.Text(max_length=2000)})
        assert len(data.train) == 3
        assert str(data.rejected[0]).startswith("s.tar, row 4: the shard is broken from here on: ")

    def test_braces(self):
        assert expand("{a,b}-{08..10}.tar")[:2] == ["a-08.tar", "a-09.tar"]
        assert expand("plain.tar") == ["plain.tar"]


class TestHuggingFace:
    @pytest.fixture
    def saved(self, tmp_path):
        import datasets

        features = datasets.Features(
            {
                "picture": datasets.Image(),
                "name": datasets.Value("string"),
                "style": datasets.ClassLabel(names=["flat", "round"]),
                "v": datasets.Sequence(datasets.Value("float32")),
                "sound": datasets.Audio(),
            }
        )
        rows = {
            "picture": [{"bytes": png("red"), "path": None}, None, {"bytes": png("blue"), "path": None}],
            "name": ["a", "b", None],
            "style": [0, 1, 1],
            "v": [[1.0, 2.0], None, [3.0, 4.0]],
            "sound": [None, None, None],
        }
        return datasets.Dataset.from_dict(rows, features=features)

    FIELDS = {**FIELDS, "style": pm.Label(), "v": pm.Vector(size=2)}  # noqa: RUF012

    def test_a_saved_folder_is_read_undecoded_and_not_touched(self, load, saved, tmp_path):
        saved.save_to_disk(tmp_path / "saved")
        before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "saved").rglob("*"))
        data = load(tmp_path / "saved", self.FIELDS)
        assert data.rejected == []
        assert data.train[0]["picture"].getpixel((0, 0)) == (255, 0, 0)
        assert data.train.present["picture"].tolist() == [True, False, True]
        assert [row["style"] for row in data.train] == ["flat", "round", "round"]
        np.testing.assert_allclose(data.train[2]["v"], [3, 4])
        assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "saved").rglob("*")) == before

    def test_splits(self, load, saved, tmp_path):
        import datasets

        datasets.DatasetDict(train=saved.select([0, 1]), test=saved.select([2])).save_to_disk(tmp_path / "saved")
        data = load(tmp_path / "saved", self.FIELDS)
        assert [len(rows) for rows in data.splits.values()] == [2, 0, 1]

    def test_parquet_that_datasets_wrote_keeps_class_names(self, load, saved, tmp_path):
        saved.to_parquet(tmp_path / "t.parquet")
        data = load(tmp_path / "t.parquet", self.FIELDS)
        assert data.train.column("style") == ["flat", "round", "round"]

    def test_broken_folder(self, load, saved, tmp_path):
        saved.save_to_disk(tmp_path / "saved")
        (tmp_path / "saved" / "dataset_info.json").unlink()
        with pytest.raises(DataError, match="saved: cannot be read as a saved data set: "):
            load(tmp_path / "saved")


TINY = """
FIELDS = {"name": {"modality": "text", "max_length": 9}}

def build(folder, *, rows: int = 3, words=()):
    folder.mkdir(parents=True, exist_ok=True)
    words = words or [str(i) for i in range(rows)]
    (folder / "rows.jsonl").write_text("".join(f'{{"name": "{word}"}}\\n' for word in words))
    return folder
"""


class TestBuiltin:
    @pytest.fixture(autouse=True)
    def tiny(self, tmp_path, monkeypatch):
        (tmp_path / "tiny_builtin.py").write_text(TINY)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(BUILTIN, "tiny", "tiny_builtin")

    def test_options(self, load):
        assert len(load("tiny", {"name": pm.Text()}).train) == 3
        assert len(load("tiny:rows=5", {"name": pm.Text()}).train) == 5
        assert load("tiny:rows=5,words=[a, b]", {"name": pm.Text()}).train.column("name") == ["a", "b"]

    def test_knows_its_fields(self, tmp_path):
        assert infer_fields("tiny:rows=5", tmp_path)["name"].max_length == 9

    def test_wrong_options(self, load):
        with pytest.raises(DataError, match=r"^tiny: option: 'row' is unknown; did you mean 'rows'\? \(rows, words\)$"):
            load("tiny:row=5")
        with pytest.raises(DataError, match=r"^tiny:rows=many: rows: Input should be a valid integer, .*not 'many'$"):
            load("tiny:rows=many")
        with pytest.raises(DataError, match=r"^tiny:rows: 'rows' is not option=value$"):
            load("tiny:rows")
        with pytest.raises(DataError, match=r"^tiny:rows=\[: 'rows=\[' is not option=value,option=value$"):
            load("tiny:rows=[")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.jsonl", "none.jsonl: no such file or folder (built in: emoji, "),
        (
            "rows.xlsx",
            "rows.xlsx: '.xlsx' is no ending of a source; .parquet, .jsonl, .ndjson, .jsonl.gz, .ndjson.gz, .csv, "
            ".tsv, .tab, .csv.gz, .tsv.gz, .json, .json.gz, .tar, .tar.gz, .tgz are",
        ),
    ],
)
def test_no_such_source(load, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.xlsx").write_bytes(b"")
    with pytest.raises(DataError) as error:
        load(name)
    assert str(error.value).startswith(message)


class TestInfer:
    def test_rows_in_memory(self, tmp_path):
        rows = [
            {
                "p": png("red"),
                "file": {"bytes": None, "path": "a.WAV"},
                "style": "ab"[i % 2],
                "name": f"a name {i}",
                "v": [1.0, 2.0, 3.0],
                "w": "[1, 2]",
                "n": 0.5 * i,
                "yes": i < 3,
                "split": ["train", "test"][i % 2],
                "junk": {"a": 1},
                "none": None,
            }
            for i in range(8)
        ]
        fields = infer_fields(rows, tmp_path)
        kinds = {name: type(modality).__name__ for name, modality in fields.items()}
        assert kinds == {
            "p": "Image",
            "file": "Audio",
            "style": "Label",
            "name": "Text",
            "v": "Vector",
            "w": "Vector",
            "n": "Vector",
            "yes": "Label",
        }
        assert fields["name"].max_length == 16
        assert [fields[name].size for name in "vwn"] == [3, 2, 1]

    def test_columns_that_no_field_can_be_called(self, load, tmp_path):
        rows = [{"type": "ab"[i % 2], "meta.title": f"number {i}", "type_": 0.5 * i} for i in range(8)]
        fields = infer_fields(rows, tmp_path)
        assert list(fields) == ["type__", "meta_title", "type_"]
        data = load(rows, fields)
        assert data.train.column("type__")[:2] == ["a", "b"]
        assert data.train.names["meta_title"] == "meta.title"

    def test_inferred_fields_load(self, load, tmp_path):
        (tmp_path / "p").mkdir()
        for i in range(6):
            (tmp_path / "p" / "ab"[i % 2]).mkdir(exist_ok=True)
            (tmp_path / "p" / "ab"[i % 2] / f"{i}.png").write_bytes(png("red"))
        fields = infer_fields(tmp_path / "p", tmp_path)
        assert list(fields) == ["image", "label"]
        assert len(load(tmp_path / "p", fields).train) == 6

    def test_nothing_known(self, tmp_path):
        with pytest.raises(DataError, match=r"^rows: no column holds .*: 'a': no modality is known"):
            infer_fields([{"a": {"b": 1}}], tmp_path)
