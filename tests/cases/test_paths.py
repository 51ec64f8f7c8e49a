"""Paths in cells, as other people and systems write them."""

import json
import os
import unicodedata

import pytest

import polymodal as pm
from polymodal import DataError
from polymodal.data import infer_fields
from polymodal.data.paths import Files

from .conftest import colour, png, put

IMAGE = {"image": pm.Image(4)}


@pytest.fixture
def table(folder):
    def table(*paths, name="rows.jsonl"):
        return put(folder / name, "".join(json.dumps({"image": path}) + "\n" for path in paths))

    return table


class TestOtherSystems:
    @pytest.mark.parametrize(
        ("there", "named"),
        [
            ("images/a.png", "images\\a.png"),
            ("images/a.png", ".\\images\\a.png"),
            ("images/a.png", "Images/A.PNG"),
            ("images/a.png", "./images//a.png"),
            (unicodedata.normalize("NFD", "müllér/é.png"), unicodedata.normalize("NFC", "müllér/é.png")),
            (unicodedata.normalize("NFC", "müllér/é.png"), unicodedata.normalize("NFD", "müllér/é.png")),
            ("clips/a.png", "a.png"),
            ("clips/b/a.png", "b/a.png"),
        ],
    )
    def test_spellings(self, load, folder, table, there, named):
        put(folder / there, png("red"))
        assert colour(load(table(named), IMAGE).train[0]) == (255, 0, 0)

    def test_the_file_of_that_very_name_goes_first(self, load, folder, table):
        for name, paint in (("a\\b.png", "red"), ("a/b.png", "blue"), ("A/b.png", "lime"), ("c/A/b.png", "lime")):
            put(folder / name, png(paint))
        data = load(table("a\\b.png", "a/b.png", "A/b.png"), IMAGE)
        assert [colour(row) for row in data.train] == [(255, 0, 0), (0, 0, 255), (0, 255, 0)]

    def test_two_that_it_could_be(self, load, folder, table):
        for name in ("A.png", "a.PNG", "x/b.png", "y/b.png"):
            put(folder / name, png("red"))
        data = load(table("a.png", "b.png", "A.png"), IMAGE)
        assert [one.row for one in data.rejected] == [1, 2]
        assert "in several folders" in data.rejected[1].reason

    def test_where_a_file_was_found_is_said(self, load, folder, table):
        put(folder / "clips" / "a.png", png("red"))
        assert any("'clips'" in note for note in load(table("a.png"), IMAGE).notes)


class TestRoot:
    def test_a_folder_elsewhere(self, load, tmp_path, table):
        store = tmp_path / "store"
        put(store / "sub" / "a.png", png("red"))
        path = table(str(store / "sub" / "a.png"))
        with pytest.raises(DataError) as error:
            load(path, IMAGE)
        assert f"leaves the data folder; root='{store / 'sub'}'" in str(error.value)
        for named in (str(store / "sub" / "a.png"), "sub/a.png", "sub\\a.png"):
            data = load(table(named), IMAGE, root=store)
            assert colour(data.train[0]) == (255, 0, 0)
            assert data.settings["root"] == str(store)

    @pytest.mark.parametrize("there", ["/home/alice/set/images/a.png", "C:\\Users\\alice\\set\\images\\a.png"])
    def test_a_folder_that_was_elsewhere(self, load, folder, tmp_path, table, there):
        put(tmp_path / "here" / "images" / "a.png", png("red"))
        with pytest.raises(DataError, match="root='FOLDER'"):
            load(table(there), IMAGE)
        data = load(table(there), IMAGE, root=tmp_path / "here")
        assert colour(data.train[0]) == (255, 0, 0)
        assert any("are read below" in note for note in data.notes)

    def test_all_were_in_one_folder(self, load, tmp_path, table):
        put(tmp_path / "here" / "train" / "a.png", png("red"))
        put(tmp_path / "here" / "a.png", png("blue"))
        data = load(table("/old/set/train/a.png", "/old/set/test/a.png"), IMAGE, root=tmp_path / "here")
        assert [colour(row) for row in data.train] == [(255, 0, 0)]
        assert [one.row for one in data.rejected] == [2]

    def test_of_rows_in_memory(self, load, tmp_path):
        put(tmp_path / "store" / "a.png", png("red"))
        rows = [{"image": "a.png"}, {"image": str(tmp_path / "store" / "a.png")}]
        with pytest.raises(DataError, match=r"no folder that the path 'a\.png' could start from; give root="):
            load(rows, IMAGE)
        assert len(load(rows, IMAGE, root=tmp_path / "store").train) == 2

    def test_is_no_way_out(self, load, tmp_path, table):
        put(tmp_path / "store" / "a.png", png("red"))
        put(tmp_path / "secret.png", png("blue"))
        (tmp_path / "store" / "link.png").symlink_to(tmp_path / "secret.png")
        for path in (
            "../secret.png",
            str(tmp_path / "secret.png"),
            "link.png",
            "/x/../secret.png",
            "x\\..\\..\\secret.png",
        ):
            with pytest.raises(DataError):
                load(table(path), IMAGE, root=tmp_path / "store")

    def test_no_folder(self, load, table):
        with pytest.raises(DataError, match="root: '/no/such/folder' is no folder"):
            load(table("a.png"), IMAGE, root="/no/such/folder")

    def test_of_a_recipe(self, tmp_path, table, recipe):
        from polymodal.preparation import prepare

        put(tmp_path / "store" / "a.png", png("red"))
        path = table(str(tmp_path / "store" / "a.png"))
        own = {**recipe, "fields": {"picture": {"modality": "image", "size": 16, "column": "image"}}}
        settings = {"data.root": str(tmp_path / "store"), "data.source": str(path)}
        resolved, data = prepare(own, None, settings)
        assert data.rejected == []
        assert resolved.data.root == str(tmp_path / "store")
        _, again = prepare(resolved)
        assert again.rejected == []


class TestBraces:
    def test_what_is_there_is_not_expanded(self, load, folder):
        for name in ("set {v2}", "{a,b}"):
            put(folder / name / "rows.jsonl", json.dumps({"text": "a text"}) + "\n")
            for source in (folder / name / "rows.jsonl", str(folder / name / "rows.jsonl"), str(folder / name)):
                assert load(source, {"text": pm.Text()}).train.column("text") == ["a text"]
                assert list(infer_fields(source)) == ["text"]


class TestHostile:
    @pytest.mark.parametrize(
        "text", ["a" * 5000, "a/" * 3000 + "b", "\ud800.png", "a\0b", ".", "..", "~", "/", "\\", "a" * 300]
    )
    def test_what_no_system_has(self, folder, text):
        for files in (Files(folder), Files(folder, root=folder), Files()):
            with pytest.raises(DataError):
                files.find(text)

    def test_many_that_are_not_there(self, folder):
        for number in range(40):
            put(folder / f"{number}" / "x.png", b"")
        files = Files(folder, root=folder)
        for number in range(2000):
            with pytest.raises(DataError):
                files.find(f"/a/b/c/d/e/{number}.png" if number % 2 else f"{number}.png")

    def test_a_folder_behind_a_link(self, load, folder, tmp_path, table):
        put(tmp_path / "elsewhere" / "a.png", png("red"))
        (folder / "img").symlink_to(tmp_path / "elsewhere")
        for path in ("img/a.png", "IMG/a.png", "img\\a.png", "a.png"):
            with pytest.raises(DataError):
                load(table(path), IMAGE)

    def test_what_is_no_regular_file(self, load, folder, table):
        os.mkfifo(folder / "fifo.png")
        (folder / "zero.png").symlink_to("/dev/zero")
        (folder / "a.png").mkdir()
        for path in ("fifo.png", "zero.png", "a.png"):
            with pytest.raises(DataError):
                load(table(path), IMAGE, follow_links=True)

    def test_a_data_folder_behind_a_link_is_no_other(self, load, folder, tmp_path, table):
        put(folder / "a.png", png("red"))
        path = table("a.png")
        (tmp_path / "link").symlink_to(folder)
        assert len(load(tmp_path / "link" / path.name, IMAGE).train) == 1
        assert len(load(tmp_path / "link", IMAGE).train) == 1


def test_the_vocoder_s_sounds_are_those_of_split_folders(load, folder):
    """Raw values are found from the folder of the table that names them, after loading too."""
    from .conftest import wav

    for split, hertz in (("train", 440), ("test", 880)):
        put(folder / split / "a.wav", wav(hertz))
        put(folder / split / "metadata.csv", "file_name,text\na.wav,x\n")
    audio = {"sound": {"modality": "audio", "column": "file_name"}}
    data = load(folder, audio)
    assert [path.parent.name for rows in data.splits.values() for path in rows.raws("sound")] == ["train", "test"]
    (folder / "test" / "a.wav").unlink()
    with pytest.raises(DataError, match=r"a\.wav"):
        list(data.test.raws("sound"))
