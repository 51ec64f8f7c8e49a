"""Tables, pictures and recipes that anybody may have made: a few bytes take no gigabytes, and names stay names."""

import gzip
import io
import os
import resource
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image as PILImage

import polymodal as pm
from polymodal.cli.main import main
from polymodal.config import load_recipe
from polymodal.data import infer_fields, inspect
from polymodal.data.cells import Digests
from polymodal.errors import ConfigError, DataError, printable
from polymodal.tables import open_table

MOST_KIB = 700_000


def peak() -> int:
    """KiB that this process has had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _dictionary(value: Any, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value]))


def _list(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


BOMBS: dict[str, Callable[[], pa.Array]] = {
    "dictionary": lambda: _dictionary("x" * 10_000_000, 2000),
    "list": lambda: _list(_dictionary("x" * 1000, 1_000_000)),
    "struct": lambda: pa.StructArray.from_arrays([_dictionary(b"x" * 10_000_000, 2000)], ["bytes"]),
    "runs": lambda: _list(pa.array(np.zeros(40_000_000, np.int64))),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_parquet_file_that_unfolds_to_gigabytes_is_refused(kind, tmp_path):
    file = tmp_path / "bomb.parquet"
    options = {"compression": "zstd", "store_schema": False, "dictionary_pagesize_limit": 1 << 30}
    pa.parquet.write_table(pa.table({"name": BOMBS[kind]()}), file, **options)
    assert file.stat().st_size < 100_000
    before = peak()
    for call in (
        lambda: pm.load(file, {"name": {"modality": "text"}}),
        lambda: infer_fields(file),
        lambda: open_table(file),
    ):
        with pytest.raises(DataError, match="unfold"):
            call()
    assert peak() - before < MOST_KIB


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.json.gz", "list.json.gz", "rows.csv.gz"])
def test_json_of_millions_of_lists_is_refused(name, tmp_path):
    """A list takes 3 bytes of a file, which a packed one has for nearly nothing, and 72 of memory."""
    lists = b"[" + b"[]," * 5_000_000 + b"[]]"
    around = {"rows": (b'{"name": ', b"}\n"), "list": (b'[{"name": ', b"}]"), "csv": (b'name\n"', b'"\n')}
    before, behind = around["csv" if ".csv" in name else name.partition(".")[0]]
    (tmp_path / name).write_bytes(gzip.compress(before + lists + behind, 1))
    begun = peak()
    with pytest.raises(DataError, match=r"over 4,194,304 (values|lists)|no rows|not a vector"):
        pm.load(tmp_path / name, {"name": {"modality": "vector", "size": 2}}, cache=tmp_path / "cache")
    assert peak() - begun < MOST_KIB


def test_repeated_values_of_real_tables_are_read(tmp_path):
    file = tmp_path / "real.parquet"
    tags = pa.array([["a", "b"] * 20] * 2000)
    pa.parquet.write_table(pa.table({"name": ["the same " * 9] * 2000, "tags": tags, "n": range(2000)}), file)
    assert len(pm.load(file, {"name": {"modality": "text", "max_length": 100}}).rows) == 2000
    assert open_table(file).size == 2000


def blank_png(side: int, depth: int, kind: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    row = bytes({0: 1, 2: 3, 6: 4}[kind] * side * depth // 8 + 1)
    packer = zlib.compressobj(1)
    content = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("depth", "kind"), [(8, 6), (16, 0)], ids=["RGBA", "16 bits"])
def test_large_pictures_take_memory_one_at_a_time(depth, kind):
    content = blank_png(6000, depth, kind)
    assert len(content) < 1_000_000
    before, read = peak(), []
    threads = [threading.Thread(target=lambda: read.append(pm.Image(size=16).read(content))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 3
    assert peak() - before < MOST_KIB


def test_a_large_picture_is_read_as_a_small_one(monkeypatch):
    y, x = np.mgrid[:400, :640]
    values = (np.sin(x / 40) + np.cos(y / 30)) * 60 + 128
    picture = PILImage.fromarray(np.stack([values, 255 - values, values / 2, values], -1).astype(np.uint8))
    file = io.BytesIO()
    exif = PILImage.Exif()
    exif[274] = 6
    picture.save(file, "PNG", exif=exif)
    for fit in ("pad", "crop", "stretch"):
        usual = pm.Image(size=16, fit=fit).read(file.getvalue()).astype(int)
        with monkeypatch.context() as patch:
            patch.setattr("polymodal.modalities.image._LARGE_PIXELS", 1000)
            patch.setattr("polymodal.modalities.image._STRIP_PIXELS", 9000)
            large = pm.Image(size=16, fit=fit).read(file.getvalue()).astype(int)
        assert np.abs(large - usual).mean() < 3


def test_a_packed_volume_is_no_bomb():
    nifti = bytearray(352)
    nifti[344:348] = b"n+1\0"
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packer:
        packer.write(nifti)
        for _ in range(300):
            packer.write(bytes(1 << 20))
    before = peak()
    with pytest.raises(DataError, match=r"at most|package"):
        pm.Image(size=8).read(file.getvalue())
    assert peak() - before < MOST_KIB


YAML = {
    "names that unfold": "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]" for i in range(9)),
    "itself": "&a {description: *a}",
    "depth": "[" * 400,
    "a tag": "!!python/object/apply:os.system ['false']",
    "a date": "width: 2001-99-99",
    "bytes": "width: !!binary '*'",
    "a key": "? [a]\n: b",
    "a kind": "fusion: {kind: {a: b}}",
    "no kind": "fields: {name: {modality: text, head: {}}}",
    "where": "fields: {name: {modality: text, where: 5}}",
    "a flag": "fields: {picture: {modality: image, size: true}}",
    "a path": "fields: {'../evil': {modality: text, column: name}}",
    "an escape": '"\\e[31m": 5',
    "a seed": "train: {seed: 99999999999999999999}",
}


@pytest.mark.parametrize("kind", YAML)
def test_a_recipe_of_anybody_is_refused_in_a_few_words(kind, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(YAML[kind])
    with pytest.raises(ConfigError) as caught:
        load_recipe(file)
    assert len(str(caught.value)) < 1000
    assert printable(str(caught.value)) == str(caught.value)


def test_names_and_values_of_a_table_never_reach_the_terminal_raw(tmp_path, capsys):
    file = tmp_path / "[x]\x1b]0;own\x07.csv"
    evil = "ev\x1b]0;own\x07[red]"
    file.write_text(f"{evil},name,\x9b31m\n" + "".join(f"\x1b[31m{n}[/nope],a{n},http://x/{n}\n" for n in range(9)))
    assert main(["data", "inspect", str(file), "-o", str(tmp_path / "f.yaml")]) == 0
    shown = capsys.readouterr()
    assert not {"\x1b", "\x9b", "\x07"} & set(shown.out + shown.err)
    assert "[red]" in shown.out
    data = pm.load(file)
    assert len(data.rows) == 9
    assert inspect(data).fields[0].name == "ev_x1b]0;own_x07[red]"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode elsewhere")
def test_files_whose_names_are_no_unicode_are_read_and_remembered(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    content = io.BytesIO()
    PILImage.new("RGB", (8, 8), "red").save(content, "PNG")
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png"))
    odd.write_bytes(content.getvalue())
    digests = Digests(tmp_path / "cache", settle_seconds=-1)
    name = digests.of(odd)
    digests.save()
    again = Digests(tmp_path / "cache")
    again.recall(folder)
    assert again.of(odd) == name
    assert len(pm.load(folder, {"image": {"modality": "image", "size": 8}}).rows) == 1


def test_inspect_takes_what_says_how_a_source_is_read(tmp_path, capsys):
    (tmp_path / "files").mkdir()
    PILImage.new("RGB", (8, 8), "red").save(tmp_path / "files" / "a.png")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "rows.csv").write_bytes("picture,name\na.png,größe\n".encode("cp1252"))
    options = ["--root", str(tmp_path / "files"), "--encoding", "cp1252"]
    assert main(["data", "inspect", str(tmp_path / "t" / "rows.csv"), *options]) == 0
    assert "picture │ image" in capsys.readouterr().out.replace("|", "│")
