"""A bad cell costs that cell; and a cache that is broken, or cannot be written, costs nothing."""

import io
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image as PILImage
from rich.console import Console

import polymodal as pm
from polymodal import DataError
from polymodal.data import cache as caches
from polymodal.data import cache_folder, inspect


def png(i: int = 0) -> bytes:
    file = io.BytesIO()
    PILImage.new("RGB", (8, 8), (i % 256, 0, 0)).save(file, "PNG")
    return file.getvalue()


FIELDS = {"image": pm.Image(8), "v": pm.Vector(2), "name": pm.Text(max_length=16)}


@pytest.fixture
def table(tmp_path):
    rows = [{"image": f"{i}.png", "v": [i, 1], "name": f"name {i}"} for i in range(40)]
    for i in range(40):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    (tmp_path / "3.png").write_bytes(b"<html>404</html>")
    rows[3]["v"] = [1, None]
    rows[4]["image"] = "gone.png"
    rows[5]["name"] = "far longer than sixteen"
    rows[6] = {"image": "gone.png", "v": "?", "name": None}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def load(tmp_path):
    return lambda source, **options: pm.load(
        source, FIELDS, **{"cache": tmp_path / "cache", "validation": 0, "test": 0, **options}
    )


def test_the_cell_is_missing_and_the_rest_of_its_row_is_kept(table, load):
    data = load(table)
    assert len(data.train) == 39
    assert [(cell.row, cell.field) for cell in data.bad_cells] == [(4, "image"), (4, "v"), (5, "image"), (6, "name")]
    assert {row.row for row in data.rejected} == {7}
    assert data.train[3] == {"image": None, "v": None, "name": "name 3"}
    assert data.train.index.tolist() == [*range(6), *range(7, 40)]
    with pytest.raises(DataError, match=r"^rows\.jsonl, row 5, field 'image': "):
        load(table, strict=True)


def test_reasons_are_counted(table, load):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(inspect(load(table)))
    shown = console.export_text()
    assert "Rows set aside" in shown
    assert "Cells that are missing because they could not be read" in shown
    assert "rows.jsonl, row 5" in shown


def test_no_error_of_a_decoder_costs_more_than_its_cell(load, monkeypatch, tmp_path):
    read = pm.Text.read

    def reads(self, raw):
        if "memory" in raw:
            raise MemoryError
        if "bug" in raw:
            raise ZeroDivisionError("a bug of a decoder")
        return read(self, raw)

    monkeypatch.setattr(pm.Text, "read", reads)
    monkeypatch.delattr(pm.Text, "read_many")
    rows = [{"name": ["memory", "bug", f"name {i}"][min(i, 2)], "v": [1, 2]} for i in range(100)]
    fields = {name: FIELDS[name] for name in ("name", "v")}
    data = pm.load(rows, fields, cache=tmp_path, validation=0, test=0)
    assert [cell.reason for cell in data.bad_cells] == [
        "there is not enough memory to decode it",
        "cannot be decoded: ZeroDivisionError: a bug of a decoder",
    ]
    assert data.train.present["name"].sum() == 98
    monkeypatch.setattr(pm.Text, "read", read)
    monkeypatch.setattr(caches, "_built", set())  # as in another process, which has the memory
    again = pm.load(rows, fields, cache=tmp_path, validation=0, test=0)
    assert again.bad_cells == []


class TestCache:
    def files(self, folder):
        return {path.name: path for path in (folder / "cache" / "columns").glob("*/*") if path.parent.suffix != ".lock"}

    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 255])),
            lambda path: path.unlink(),
            lambda path: (path.unlink(), path.mkdir()),
        ],
        ids=["empty", "cut", "flipped", "gone", "folder"],
    )
    def test_what_is_broken_is_built_anew(self, table, load, tmp_path, damage, caplog):
        before = load(table).train.fingerprint
        whole = self.files(tmp_path)
        assert set(whole) == {"values.npy", "offsets.npy", "failures.json", "seal.json"}
        for name, path in whole.items():
            stamp = path.stat()
            damage(path)
            if path.exists():
                os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            caplog.clear()
            data = load(table)
            assert data.train.fingerprint == before, name
            assert data.train[0]["name"] == "name 0"
            assert len(data.bad_cells) == 4
            (line,) = [record.getMessage() for record in caplog.records]
            assert "built anew" in line
            assert "\n" not in line
        caplog.clear()
        load(table)
        assert caplog.records == []

    def test_a_copy_is_whole(self, table, load, tmp_path, caplog):
        load(table)
        (path,) = (tmp_path / "cache" / "columns").glob("*/offsets.npy")
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        load(table)
        assert caplog.records == []

    def test_the_memory_of_names_may_be_lost(self, table, load, tmp_path, caplog):
        before = load(table).train.fingerprint
        (tmp_path / "cache" / "files.sqlite").write_bytes(b"no database at all" * 100)
        assert load(table).train.fingerprint == before
        assert "files.sqlite" in caplog.text

    def test_a_folder_that_cannot_be_written(self, table, tmp_path, monkeypatch, caplog):
        (tmp_path / "file").write_bytes(b"")
        monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path / "file" / "cache"))
        caches._temporary.cache_clear()
        data = pm.load(table, FIELDS)
        assert len(data.rows) == 39
        assert cache_folder().is_dir()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert str(tmp_path / "file") in caplog.text

    def test_threads_may_share_it(self, table, load):
        with ThreadPoolExecutor(4) as pool:
            prints = {data.train.fingerprint for data in pool.map(lambda _: load(table), range(8))}
        assert len(prints) == 1


def test_numbers_of_a_broken_cell_do_not_move_the_statistics(tmp_path):
    rows = [{"v": [float(i)]} for i in range(10)] + [{"v": [np.inf]}, {"v": "junk"}]
    assert pm.load(rows, {"v": pm.Vector(1)}, cache=tmp_path, validation=0, test=0).fields["v"].mean == [4.5]
