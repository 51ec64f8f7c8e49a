"""Folders: tables, shards and loose files in them, whichever way people lay them out."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image as PILImage

import polymodal as pm
from polymodal import DataError
from polymodal.data import infer_fields, open_source

from .conftest import colour, png, put, sine, wav

IMAGE = {"image": pm.Image(4)}
PAIR = {**IMAGE, "text": pm.Text()}


def table(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def names(data, column="text"):
    return {split: rows.column(column) for split, rows in data.splits.items()}


class TestTables:
    def test_metadata_in_split_folders(self, load, folder):
        for split, paint in (("train", "red"), ("validation", "lime"), ("test", "blue")):
            put(folder / split / "0.png", png(paint))
            put(folder / split / "metadata.jsonl", table({"file_name": "0.png", "text": paint}))
        data = load(folder, {"picture": {"modality": pm.Image(4), "column": "file_name"}, "text": pm.Text()})
        assert names(data) == {"train": ["red"], "validation": ["lime"], "test": ["blue"]}
        assert [colour(rows[0], "picture") for rows in data.splits.values()] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
        assert data.rejected == []

    @pytest.mark.parametrize(
        ("train", "test"),
        [
            ("train.csv", "test.csv"),
            ("data/train-00000-of-00001.csv", "data/test-00000-of-00001.csv"),
            ("training/rows.csv", "testing/rows.csv"),
            ("my_train_set.csv", "my_test_set.csv"),
            ("TRAIN.csv", "Test.csv"),
        ],
    )
    def test_splits_named_by_files_and_folders(self, load, folder, train, test):
        for file, split in ((train, "train"), (test, "test")):
            put(folder / file, "text\n" + "".join(f"{split} row {i}\n" for i in range(20)))
        data = load(folder, {"text": pm.Text()}, test=0.5)
        assert names(data) == {
            split: [f"{split} row {i}" for i in range(20) if split] for split in ("train", "test")
        } | {"validation": []}
        assert any("splits" in note for note in data.notes)

    def test_validation_of_every_name(self, load, folder):
        for word in ("train", "val", "valid", "validation", "dev", "eval", "test"):
            put(folder / f"{word}.csv", f"text\nof {word}\n")
        found = names(load(folder, {"text": pm.Text()}))
        assert found["train"] == ["of train"]
        assert found["test"] == ["of test"]
        assert len(found["validation"]) == 5

    def test_one_name_for_all_tells_nothing(self, load, folder):
        put(folder / "train.csv", "text\n" + "".join(f"row {i}\n" for i in range(100)))
        assert 5 < len(load(folder, {"text": pm.Text()}, test=0.2).test) < 40

    def test_a_column_called_split_goes_first(self, load, folder):
        put(folder / "train.csv", "text,split\na,train\nb,test\n")
        put(folder / "test.csv", "text,split\nc,test\nd,\n")
        assert names(load(folder, {"text": pm.Text()})) == {"train": ["a"], "validation": [], "test": ["c", "d", "b"]}

    def test_a_clone_of_a_hub_repository(self, load, folder):
        put(folder / "README.md", "---\nlicense: mit\n---\n")
        put(folder / ".gitattributes", "*.parquet filter=lfs\n")
        put(folder / ".git" / "config.csv", "text\nhidden\n")
        for split, paint in (("train", "red"), ("test", "blue")):
            rows = [{"image": {"bytes": png(paint), "path": "a.png"}, "text": paint}]
            put(folder / "data" / f"{split}-00000-of-00001.parquet", b"")
            pa.parquet.write_table(pa.Table.from_pylist(rows), folder / "data" / f"{split}-00000-of-00001.parquet")
        data = load(folder, PAIR)
        assert names(data) == {"train": ["red"], "validation": [], "test": ["blue"]}
        assert colour(data.test[0]) == (0, 0, 255)
        assert not any("that belong to no row" in note for note in data.notes)

    def test_a_pointer_in_place_of_a_file(self, load, folder):
        put(folder / "rows.parquet", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
        with pytest.raises(DataError, match=r"rows\.parquet: a pointer of Git LFS .* `git lfs pull`"):
            load(folder, PAIR)

    def test_one_table_in_two_formats_is_read_once(self, load, folder):
        put(folder / "rows.csv", "text\na\nb\n")
        put(folder / "rows.jsonl", table({"text": "a"}, {"text": "b"}))
        assert load(folder, {"text": pm.Text()}).train.column("text") == ["a", "b"]

    def test_tables_of_several_formats(self, load, folder):
        put(folder / "a.csv", "text\na\n")
        put(folder / "b.jsonl", table({"text": "b"}))
        put(folder / "more" / "c.tsv", "text\nc\n")
        put(folder / "more" / "d.json", json.dumps([{"text": "d"}]))
        assert load(folder, {"text": pm.Text()}).train.column("text") == ["a", "b", "c", "d"]

    def test_a_table_of_something_else_is_reported(self, load, folder):
        put(folder / "rows.csv", "text\n" + "".join(f"row {i}\n" for i in range(9)))
        put(folder / "about" / "sizes.csv", "width,height\n1,2\n")
        data = load(folder, {"text": pm.Text()})
        assert len(data.train) == 9
        assert "files that belong to no row: 1, the first 'about/sizes.csv'" in data.notes

    def test_pictures_that_no_row_names_are_reported(self, load, folder):
        for number in range(3):
            put(folder / "img" / f"{number}.png", png("red"))
        put(folder / "rows.csv", "image,text\nimg/0.png,a\nimg/2.png,b\n")
        data = load(folder, PAIR)
        assert len(data.train) == 2
        assert [note for note in data.notes if "that no cell names: 1" in note and "1.png" in note]

    def test_a_table_beside_pictures_that_says_nothing_of_them(self, load, folder):
        for number in range(4):
            put(folder / "ab"[number % 2] / f"{number}.png", png("red"))
        put(folder / "stats.csv", "mean,std\n0.5,0.2\n")
        data = load(folder, {**IMAGE, "label": pm.Label()})
        assert [row["label"] for row in data.train] == ["a", "a", "b", "b"]
        assert "files that belong to no row: 1, the first 'stats.csv'" in data.notes


class TestLooseFiles:
    def test_pictures_and_texts_of_one_name(self, load, folder):
        for number, paint in enumerate(("red", "blue")):
            put(folder / f"img_{number}.png", png(paint))
            put(folder / f"img_{number}.txt", f"a {paint} square\n")
        put(folder / "alone.txt", "nobody's")
        data = load(folder, PAIR)
        assert [(colour(row), row["text"]) for row in data.train] == [
            ((255, 0, 0), "a red square"),
            ((0, 0, 255), "a blue square"),
        ]
        assert "files that belong to no row: 1, the first 'alone.txt'" in data.notes

    def test_every_kind_of_note(self, load, folder):
        put(folder / "a.jpg", png("red"))
        put(folder / "a.wav", wav(440))
        put(folder / "a.caption", "said of it")
        put(folder / "a.cls", "3\n")
        put(folder / "a.json", json.dumps({"style": "flat", "image": "not this"}))
        put(folder / "b.json", "{broken")
        put(folder / "b.jpg", png("blue"))
        fields = {**IMAGE, "audio": pm.Audio(), "caption": pm.Text(), "cls": pm.Label(), "style": pm.Label()}
        data = load(folder, fields)
        first, second = data.train
        assert (colour(first), first["caption"], first["cls"], first["style"]) == (
            (255, 0, 0),
            "said of it",
            "3",
            "flat",
        )
        assert data.train.columns["audio"].lengths.tolist() == [7, 0]
        assert second["style"] is None
        assert any("'b.json' is no JSON object" in note for note in data.notes)
        assert set(infer_fields(folder)) >= {"image", "audio"}

    def test_sound_and_text_by_class(self, load, folder):
        for kind, hertz in (("dog", 440), ("rain", 880)):
            put(folder / "sounds" / kind / "1.wav", wav(hertz))
            put(folder / "texts" / kind / "1.txt", f"about {kind}")
        data = load(folder / "sounds", {"audio": pm.Audio(), "label": pm.Label()})
        assert [row["label"] for row in data.train] == ["dog", "rain"]
        data = load(folder / "texts", {"text": pm.Text(), "label": pm.Label()})
        assert [(row["text"], row["label"]) for row in data.train] == [("about dog", "dog"), ("about rain", "rain")]

    def test_kinds_in_folders_of_their_own(self, load, folder):
        for split in ("train", "test"):
            for name, paint in (("1", "red"), ("2", "blue")):
                put(folder / "images" / split / f"{name}.png", png(paint))
                put(folder / "captions" / split / f"{name}.txt", f"{paint} in {split}")
        data = load(folder, PAIR)
        assert names(data) == {
            "train": ["red in train", "blue in train"],
            "validation": [],
            "test": ["red in test", "blue in test"],
        }
        assert colour(data.test[1]) == (0, 0, 255)

    def test_classes_that_are_called_as_kinds_are_no_pairs(self, load, folder):
        for kind in ("speech", "music"):
            put(folder / kind / "1.wav", wav(440))
        assert [row["label"] for row in load(folder, {"audio": pm.Audio(), "label": pm.Label()}).train] == [
            "music",
            "speech",
        ]

    @pytest.mark.parametrize("path", ["{split}/{name}", "images/{split}/{name}", "{split}2017/{name}"])
    def test_splits_above_and_below(self, load, folder, path):
        for split in ("train", "val", "test"):
            put(folder / path.format(split=split, name="cat") / "1.png", png("red"))
        data = load(folder, {**IMAGE, "label": pm.Label()})
        assert [len(rows) for rows in data.splits.values()] == [1, 1, 1]
        assert data.fields["label"].names == ["cat"]

    def test_a_picture_named_as_a_folder_and_a_file_is_the_file(self, load, folder):
        put(folder / "cat" / "1.png", png("red"))
        put(folder / "cat" / "cat" / "1.png", png("blue"))
        data = load(folder, {**IMAGE, "label": pm.Label()})
        assert [(row["label"], colour(row)) for row in data.train] == [
            ("cat", (255, 0, 0)),
            ("cat/cat", (0, 0, 255)),
        ]

    def test_what_pillow_and_libsndfile_read(self, load, folder):
        import soundfile

        for ending, kind in (("jfif", "JPEG"), ("jp2", "JPEG2000"), ("PPM", "PPM"), ("tga", "TGA"), ("qoi", "QOI")):
            file = io.BytesIO()
            PILImage.new("RGB", (8, 8), "red").save(file, kind)
            put(folder / "pictures" / f"0.{ending}", file.getvalue())
        assert len(load(folder / "pictures", IMAGE).train) == 5
        (folder / "sounds").mkdir()
        for ending, kind in (("aifc", "AIFF"), ("oga", "OGG"), ("w64", "W64"), ("snd", "AU"), ("sph", "NIST")):
            soundfile.write(folder / "sounds" / f"0.{ending}", sine(440), 16_000, format=kind)
        assert len(load(folder / "sounds", {"audio": pm.Audio()}).train) == 5

    def test_what_starts_programs_is_no_picture(self, load, folder):
        put(folder / "a.png", png("red"))
        for ending in ("eps", "ps", "pdf", "wmf"):
            put(folder / f"b.{ending}", "%!PS")
        data = load(folder, IMAGE)
        assert len(data.train) == 1
        assert any("that belong to no row: 4" in note for note in data.notes)

    @pytest.mark.parametrize(
        ("files", "message"), [([], "is empty"), (["a.xlsx"], "none of its 1 files"), ([".a"], "empty")]
    )
    def test_nothing_that_is_known(self, load, folder, files, message):
        for file in files:
            put(folder / file, "x")
        with pytest.raises(DataError, match=message):
            load(folder, IMAGE)


class TestShards:
    def shard(self, path, **members):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as file:
            for key, text in members.items():
                info = tarfile.TarInfo(f"{key}.txt")
                info.size = len(text)
                file.addfile(info, io.BytesIO(text.encode()))

    def test_splits_named_by_shards(self, load, folder):
        self.shard(folder / "train" / "000.tar", a="one")
        self.shard(folder / "test" / "000.tar", a="two")
        data = load(folder, {"txt": pm.Text()})
        assert names(data, "txt") == {"train": ["one"], "validation": [], "test": ["two"]}

    def test_a_table_about_each_shard_is_no_source(self, load, folder):
        self.shard(folder / "00000.tar", a="one")
        pa.parquet.write_table(pa.table({"url": ["http://x"], "key": ["a"]}), folder / "00000.parquet")
        put(folder / "00000_stats.json", "{}")
        data = load(folder, {"txt": pm.Text()})
        assert data.train.column("txt") == ["one"]
        assert any("that belong to no row: 2" in note for note in data.notes)


class TestLinks:
    def test_a_snapshot_in_the_hub_s_cache(self, load, folder):
        snapshot, blobs = folder / "datasets--me--set" / "snapshots" / "abc", folder / "datasets--me--set" / "blobs"
        put(blobs / "sha1", png("red"))
        put(blobs / "sha2", "image,text\nimages/0.png,a\n")
        (snapshot / "images").mkdir(parents=True)
        (snapshot / "images" / "0.png").symlink_to("../../../blobs/sha1")
        (snapshot / "metadata.csv").symlink_to("../../blobs/sha2")
        data = load(snapshot, PAIR)
        assert [(colour(row), row["text"]) for row in data.train] == [((255, 0, 0), "a")]

    def test_links_to_elsewhere_are_reported_or_followed(self, load, folder, tmp_path):
        put(tmp_path / "elsewhere" / "cat" / "1.png", png("red"))
        put(folder / "dog" / "1.png", png("blue"))
        put(folder / "dog" / "broken.png", b"").unlink()
        (folder / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
        (folder / "dog" / "2.png").symlink_to(tmp_path / "elsewhere" / "cat" / "1.png")
        (folder / "dog" / "loop").symlink_to(folder)
        fields = {**IMAGE, "label": pm.Label()}
        data = load(folder, fields)
        assert [row["label"] for row in data.train] == ["dog"]
        assert any(
            note.startswith("links that lead out of the folder or to nothing: 2") and "follow_links=True" in note
            for note in data.notes
        )
        data = load(folder, fields, follow_links=True)
        assert [row["label"] for row in data.train] == ["cat", "dog", "dog"]
        assert [colour(row) for row in data.train] == [(255, 0, 0), (0, 0, 255), (255, 0, 0)]

    def test_links_that_a_table_names(self, load, folder, tmp_path):
        put(tmp_path / "elsewhere" / "1.png", png("red"))
        (folder / "img").symlink_to(tmp_path / "elsewhere")
        put(folder / "rows.csv", "image,text\nimg/1.png,a\n")
        data = load(folder / "rows.csv", PAIR, follow_links=True)
        assert colour(data.train[0]) == (255, 0, 0)
        with pytest.raises(DataError, match=r"'img/1\.png' leaves the data folder by a link; follow_links=True"):
            load(folder / "rows.csv", IMAGE)

    def test_what_is_no_file(self, load, folder):
        import os

        put(folder / "a.png", png("red"))
        os.mkfifo(folder / "b.png")
        (folder / "c.png").symlink_to("/dev/zero")
        (folder / "d.png").symlink_to("e.png")
        (folder / "e.png").symlink_to("d.png")
        assert len(load(folder, IMAGE, follow_links=True).train) == 1
        with pytest.raises(DataError, match="no such file"):
            open_source(str(folder / "b.png"), folder)
