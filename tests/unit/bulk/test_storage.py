"""Folders of files that are there whole or not at all."""

import pytest

from polymodal.bulk.storage import Storage


@pytest.mark.parametrize("name", ["a.txt", "deep/a.txt"])
def test_nothing_is_in_a_folder_that_is_not_there_nor_in_a_file(tmp_path, name):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "none", tmp_path / "file"):
        storage = Storage(str(folder))
        assert storage.read(name) is None
        assert storage.size(name) is None
        assert storage.names() <= {"file"}


def test_what_is_written_is_read(tmp_path):
    storage = Storage(str(tmp_path / "new"))
    storage.write("deep/a.txt", b"abc")
    assert (storage.read("deep/a.txt"), storage.size("deep/a.txt"), storage.names("deep")) == (b"abc", 3, {"a.txt"})
