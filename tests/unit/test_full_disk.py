"""A disk that is full: whatever was being written is named, in one line, and nothing of it is left.

A limit of the size of files stands in for the disk; the system says another word for the same.
"""

import resource
from contextlib import contextmanager
from errno import EFBIG

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from polymodal.data.columns import ColumnWriter
from polymodal.files import atomic_file, atomic_folder, naming, write_array, write_file, write_tensors
from polymodal.modalities.audio import Waveform
from polymodal.modalities.points import PointCloud
from polymodal.modalities.traces import Trace
from polymodal.modalities.vector import Numbers
from polymodal.modalities.video import Clip

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.normal(size=(4000, 3)).astype(np.float32).view(PointCloud)
TRACE = Trace(RANDOM.normal(size=(4000, 2)), 100.0)


@contextmanager
def full_disk():
    """No file may have more than 4,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def in_a_file(write):
    def run(path):
        with atomic_file(path) as partial:
            write(partial)

    return run


def in_a_folder(write):
    def run(path):
        with atomic_folder(path, replace=True) as partial:
            write(partial)

    return run


def a_column(folder):
    with ColumnWriter(folder) as writer:
        writer.write(np.zeros((4000, 2)))


def appended(path):
    with naming(path), path.open("a") as file:
        file.write("x" * 8000)


WRITERS = {
    "text.txt": lambda path: write_file(path, "x" * 8000),
    "bytes.bin": in_a_file(lambda path: path.write_bytes(b"x" * 8000)),
    "array.npy": lambda path: write_array(path, np.zeros(4000)),
    "saved.npy": in_a_file(lambda path: np.save(path, np.zeros(4000))),
    "tensors.safetensors": lambda path: write_tensors(path, {"x": torch.zeros(4000)}),
    "picture.png": in_a_file(PILImage.effect_noise((128, 128), 50).save),
    "folder": in_a_folder(lambda path: (path / "a.txt").write_text("x" * 8000)),
    "tensors": in_a_folder(lambda path: write_tensors(path / "a.safetensors", {"x": torch.zeros(4000)})),
    "column": in_a_folder(a_column),
    "metrics.jsonl": appended,
    "sound.wav": Waveform(np.zeros(8000, np.float32), 4000).save,
    "points.ply": POINTS.save,
    "points.obj": POINTS.save,
    "points.npy": POINTS.save,
    "trace.csv": TRACE.save,
    "trace.npy": TRACE.save,
    "numbers.npy": RANDOM.normal(size=4000).view(Numbers).save,
    "clip.gif": Clip(RANDOM.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8), 8.0).save,
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path, name):
    with full_disk(), pytest.raises(OSError, match=name) as error:
        WRITERS[name](tmp_path / name)
    assert len(str(error.value).splitlines()) == 1
    assert str(tmp_path) in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ([name] if name == "metrics.jsonl" else [])


def test_what_has_a_name_or_is_no_matter_of_files_stays_as_it_is(tmp_path):
    for raised in (
        FileNotFoundError(2, "no such file", "other.txt"),
        OSError(EFBIG, "too large", "other.txt"),
        ConnectionResetError(104, "reset by peer"),
        ValueError("wrong"),
    ):
        with pytest.raises(type(raised)) as error, atomic_file(tmp_path / "mine.txt"):
            raise raised
        assert error.value is raised
        assert "mine" not in str(error.value)
