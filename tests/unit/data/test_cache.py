"""The cache: built once, whole or not at all, by one process at a time."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal import DataError
from polymodal.data.cache import build_column, cache_folder
from polymodal.data.cells import Digests
from polymodal.modalities import Text

TEXTS = [f"text {i}" * (1 + i % 5) for i in range(100)]
NAMES = [text.encode().ljust(16) for text in TEXTS]


def read(column, i):
    slot = column.slots[i]
    return Text().write(torch.from_numpy(column.values[slice(*column.offsets[slot : slot + 2])].copy()))


def test_reads_once_and_the_same(tmp_path):
    calls = []

    def raws():
        calls.append(1)
        return TEXTS

    for _ in range(2):
        column, failures = build_column(tmp_path, Text(max_length=99), NAMES, raws)
        assert failures == {}
        assert [read(column, i) for i in range(100)] == TEXTS
    assert len(calls) == 1
    assert isinstance(np.load(tmp_path / "columns" / column.key / "values.npy", mmap_mode="r"), np.memmap)


def test_settings_and_content_make_the_key(tmp_path):
    keys = {
        build_column(tmp_path, modality, names, lambda: TEXTS)[0].key
        for modality in (Text(max_length=98), Text(max_length=99))
        for names in (NAMES, [b"x" * 16, *NAMES[1:]])
    }
    assert len(keys) == 4


def test_failures_are_remembered(tmp_path):
    texts = ["ok", "x" * 100, "fine", 5]
    for _ in range(2):
        column, failures = build_column(tmp_path, Text(max_length=50), NAMES[:4], lambda: texts)
        assert failures == {1: "the text has 100 bytes; max_length 50 holds 49", 3: "5 (int) is not a string"}
        assert column.slots.tolist() == [0, -1, 1, -1]
        assert read(column, 2) == "fine"


def test_nothing_readable_at_all(tmp_path):
    column, failures = build_column(tmp_path, Text(), NAMES[:1], lambda: [5])
    assert len(failures) == 1
    field = column.batch(np.array([0, 0]))
    assert field.value.shape == (2, 1)
    assert not field.mask.any()


def test_an_error_leaves_nothing(tmp_path):
    def raws():
        yield "a"
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        build_column(tmp_path, Text(), NAMES[:2], raws)
    assert [path for path in (tmp_path / "columns").iterdir() if path.is_dir()] == []


KILLED = """
import os, signal, sys
from pathlib import Path
from polymodal.data.cache import build_column
from polymodal.modalities import Text

def raws():
    for i in range(500):
        yield f"text {i}"
    os.kill(os.getpid(), signal.SIGKILL)

build_column(Path(sys.argv[1]), Text(), [bytes([i % 256, i // 256]) * 8 for i in range(501)], raws)
"""


def test_a_killed_build_leaves_no_half_cache(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    (partial,) = (tmp_path / "columns").glob(".partial-*")
    assert [path for path in (tmp_path / "columns").iterdir() if path.is_dir()] == [partial]
    build_column(tmp_path, Text(max_length=99), NAMES, lambda: TEXTS)  # any later build cleans up
    assert not partial.exists()


def test_builders_at_the_same_time_build_once(tmp_path):
    calls, results = [], []

    def raws():
        calls.append(1)
        return TEXTS

    def build():
        results.append(build_column(tmp_path, Text(max_length=99), NAMES, raws))

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert all(read(column, 99) == TEXTS[99] for column, _ in results)


def test_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert cache_folder("x").name == "x"
    monkeypatch.delenv("POLYMODAL_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "polymodal")


def test_a_file_is_hashed_again_only_if_it_changed(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    digests = Digests(tmp_path / "cache")
    first = digests.of(path)
    assert first == digests.of(b"one")
    digests.save()
    digests = Digests(tmp_path / "cache")
    digests.recall(tmp_path)
    path.write_bytes(b"two")
    assert digests.of(path) == digests.of(b"two") != first
    path.unlink()
    with pytest.raises(DataError, match=r"^cannot read the file: No such file or directory$"):
        digests.of(path)


@pytest.mark.parametrize(("settle_seconds", "remembered"), [(0, 1), (60, 0)])
def test_only_files_that_have_settled_are_remembered(tmp_path, settle_seconds, remembered):
    (tmp_path / "a.bin").write_bytes(b"one")
    digests = Digests(tmp_path / "cache", settle_seconds)
    first = digests.of(tmp_path / "a.bin")
    digests.save()
    with closing(sqlite3.connect(tmp_path / "cache" / "files.sqlite")) as database:
        assert database.execute("SELECT COUNT(*) FROM files").fetchone() == (remembered,)
    later = Digests(tmp_path / "cache")
    later.recall(tmp_path)
    assert later.of(tmp_path / "a.bin") == first


def test_the_data_is_read_from_the_cache_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"name": text}) + "\n" for text in TEXTS))
    fields = {"name": pm.Text(max_length=99)}
    first = pm.load(path, fields, cache=tmp_path / "cache")
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache" / "columns").rglob("*.npy")}
    second = pm.load(path, fields, cache=tmp_path / "cache")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache" / "columns").rglob("*.npy")} == files
    assert second.train.fingerprint == first.train.fingerprint
    assert sorted(os.listdir(tmp_path)) == ["cache", "rows.jsonl"]
