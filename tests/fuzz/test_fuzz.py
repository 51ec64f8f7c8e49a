"""Whatever bytes a source or a cell has, a DataError is all that it can raise.

``POLYMODAL_FUZZ_EXAMPLES=20000 pytest tests/fuzz`` looks longer, and elsewhere each time.
"""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

import polymodal as pm
from polymodal.data import infer_fields
from polymodal.errors import ConfigError, DataError
from polymodal.modalities import MODALITIES, Modality
from polymodal.modalities.video import Clip
from polymodal.tables import open_table

EXAMPLES = int(os.environ.get("POLYMODAL_FUZZ_EXAMPLES", "0"))
FIELDS = {
    "picture": {"modality": "image", "size": 8},
    "name": {"modality": "text", "max_length": 32},
    "place": {"modality": "vector", "size": 2, "mean": 0, "std": 1},
    "kind": {"modality": "label"},
}


def examples(usual: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=EXAMPLES or usual,
        deadline=None,
        database=None,
        derandomize=not EXAMPLES,
        suppress_health_check=list(HealthCheck),
    )


def png() -> bytes:
    file = io.BytesIO()
    PILImage.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, "PNG")
    return file.getvalue()


ROWS: list[dict[str, Any]] = [
    {"name": f"row é{n}", "kind": "ab"[n % 2], "place": [n, 0.5], "number": n, "flag": None} for n in range(6)
]


def packed(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def written(write: Callable[[pa.Table, io.BytesIO], Any]) -> bytes:
    file = io.BytesIO()
    table = pa.table({**{name: [row[name] for row in ROWS] for name in ROWS[0]}, "picture": [{"bytes": png()}] * 6})
    write(table, file)
    return file.getvalue()


def text(separator: str) -> bytes:
    lines = [separator.join(("name", "kind", "place", "number"))]
    lines += [separator.join((row["name"], row["kind"], '"[1, 2]"', str(row["number"]))) for row in ROWS]
    return "\r\n".join(lines).encode()


LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
SHARD = packed(
    *((f"{n}.{end}", part) for n in range(3) for end, part in (("png", png()), ("txt", b"a"), ("json", b"{}")))
)
SOURCES: dict[str, bytes] = {
    "rows.csv": text(","),
    "rows.tsv": text("\t"),
    "rows.csv.gz": gzip.compress(text(",")),
    "rows.jsonl": LINES,
    "rows.jsonl.gz": gzip.compress(LINES),
    "rows.json": json.dumps(ROWS).encode(),
    "rows.parquet": written(pa.parquet.write_table),
    "shard.tar": SHARD,
    "shard.tar.gz": gzip.compress(SHARD),
}
MUTATIONS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from(["flip", "cut", "put", "copy", "end"]), st.binary(max_size=8)
    ),
    min_size=1,
    max_size=6,
)


def mutated(content: bytes, mutations: list[tuple[float, str, bytes]]) -> bytes:
    for share, how, more in mutations:
        place = int(share * len(content))
        if how == "flip" and content:
            content = content[:place] + bytes([content[place] ^ (more[0] if more else 1)]) + content[place + 1 :]
        elif how == "cut":
            content = content[:place] + content[place + 1 + len(more) :]
        elif how == "put":
            content = content[:place] + more + content[place:]
        elif how == "copy":
            content = content[:place] + content[place // 2 : place] + content[place:]
        elif how == "end":
            content = content[: max(place, 1)]
    return content


def bytes_like(content: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, and those of a valid file with a few changes."""
    return st.one_of(st.binary(max_size=200), MUTATIONS.map(lambda changes: mutated(content, changes)))


def only_data_errors(call: Callable[[], Any]) -> None:
    told = "something"
    try:
        call()
    except DataError as error:
        told = str(error)
    assert told


@pytest.mark.parametrize("name", SOURCES)
def test_a_table_or_shard_of_any_bytes(name, tmp_path):
    file, cache = tmp_path / name, tmp_path / "cache"
    fields = {field: {**FIELDS[field]} for field in FIELDS}
    if "tar" in name:
        fields = {"picture": {**FIELDS["picture"], "column": "png"}, "name": {**FIELDS["name"], "column": "txt"}}

    @examples(8)
    @given(bytes_like(SOURCES[name]))
    def check(content):
        file.write_bytes(content)
        only_data_errors(lambda: pm.load(file, fields, cache=cache))
        only_data_errors(lambda: infer_fields(file, cache))

    check()


@pytest.mark.parametrize("name", [name for name in SOURCES if name.endswith(("csv", "tsv", "jsonl", "parquet"))])
def test_a_table_to_fill_of_any_bytes(name, tmp_path):
    file = tmp_path / name

    def read() -> None:
        table = open_table(file)
        table.study(dict.fromkeys(table.columns))
        for shard in table.shards():
            assert all(isinstance(row, dict | str) for row in shard.rows)

    @examples(15)
    @given(bytes_like(SOURCES[name]))
    def check(content):
        file.write_bytes(content)
        only_data_errors(read)

    check()


def test_a_folder_of_any_files(tmp_path):
    names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
    endings = st.sampled_from(["", ".png", ".txt", ".json", ".csv", ".wav", ".jsonl", ".tar", ".parquet"])
    contents = st.one_of(st.binary(max_size=60), st.sampled_from([png(), LINES, text(","), SHARD]))
    numbers = iter(range(10**9))

    @examples(10)
    @given(st.dictionaries(st.tuples(names, endings, st.sampled_from(["", "train", "a"])), contents, max_size=5))
    def check(files):
        folder = tmp_path / f"{next(numbers)}"
        for (name, ending, below), content in files.items():
            path = folder / below / (name.strip(".") + "x" + ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        folder.mkdir(exist_ok=True)
        only_data_errors(lambda: pm.load(folder, cache=tmp_path / "cache"))

    check()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["bytes", "path", "array", "sampling_rate"]), inner)
    ),
    max_leaves=6,
)


def test_rows_in_memory_of_any_values(tmp_path):
    @examples(6)
    @given(st.lists(st.dictionaries(st.sampled_from([*FIELDS, "split"]), VALUES), min_size=1, max_size=4))
    def check(rows):
        only_data_errors(lambda: pm.load(rows, {name: {**FIELDS[name]} for name in FIELDS}, cache=tmp_path))
        only_data_errors(lambda: pm.load(rows, cache=tmp_path))

    check()


def sound(kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(800) / 9)[:, None], 8000, format=kind)
    return file.getvalue()


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    PILImage.open(io.BytesIO(png())).save(file, kind)
    return file.getvalue()


def numbers() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([1.0, 2.0]))
    return file.getvalue()


def mesh(kind: str) -> bytes:
    written = trimesh.creation.box().export(file_type=kind)
    return written.encode() if isinstance(written, str) else written


def film(suffix: str) -> bytes:
    frames = np.arange(3 * 8 * 8 * 3, dtype=np.uint8).reshape(3, 8, 8, 3)
    return Clip(frames, 8.0).encode(suffix)


MODALITY: dict[str, tuple[Modality, list[bytes]]] = {
    "image": (
        pm.Image(size=8),
        [*map(picture, ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA")), b"<svg/>"],
    ),
    "audio": (pm.Audio(sample_rate_hz=8000), [*map(sound, ("WAV", "FLAC", "OGG", "AIFF", "AU", "CAF", "MP3"))]),
    "text": (pm.Text(max_length=32), ["größe\n".encode()]),
    "label": (pm.Label(["a", "b"]), [b"a"]),
    "vector": (pm.Vector(size=2, mean=0.0, std=1.0), [numbers(), b"[1, 2]", b"1 2"]),
    "series": (pm.Series(mean=0.0, std=1.0), [numbers(), b"seconds,0\n0,1\n0.04,2\n", b"1\n2\n"]),
    "molecule": (pm.Molecule(symbols=["[C]", "[O]"]), [b"CCO", b"[C][C][O]", b"InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3"]),
    "points": (pm.Points(count=8, scale_mean=0.0, scale_std=1.0), [*map(mesh, ("ply", "obj", "stl", "glb", "off"))]),
    "video": (pm.Video(size=8, frames=4), [*map(film, (".gif", ".webp", ".apng", ".mp4", ".webm", ".mkv"))]),
}


@pytest.mark.filterwarnings("ignore")  # what libraries say of broken files
@pytest.mark.parametrize("name", MODALITIES)
def test_a_cell_of_any_bytes(name, tmp_path):
    modality, valid = MODALITY[name]
    path = tmp_path / f"cell{modality.suffix}"

    @examples(60)
    @given(st.sampled_from(valid).flatmap(bytes_like))
    def check(content):
        only_data_errors(lambda: modality.read(content))
        path.write_bytes(content)
        only_data_errors(lambda: modality.read(path))

    check()


@pytest.mark.parametrize("name", MODALITIES)
def test_a_cell_of_any_value(name):
    @examples(60)
    @given(VALUES)
    def check(value):
        only_data_errors(lambda: MODALITY[name][0].read(value))

    check()


def test_a_recipe_of_any_text():
    from polymodal.config import load_recipe
    from polymodal.yaml_text import parse_yaml

    valid = b"fields: {name: {modality: text, head: {kind: autoregressive, depth: 2}}}\nwidth: 32\ntrain: {steps: 3}\n"

    @examples(40)
    @given(bytes_like(valid))
    def check(content):
        told = "something"
        try:
            tree = parse_yaml(content.decode(errors="replace"), "recipe")
            load_recipe(tree if isinstance(tree, dict) else {})
        except ConfigError as error:
            told = str(error)
        assert told

    check()
