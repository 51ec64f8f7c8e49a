"""Modalities that the package does not have, each added by one class and one line: all that is done with data works."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from markupsafe import Markup
from PIL import Image as PILImage
from PIL import ImageDraw
from torch import Tensor

import polymodal as pm
from polymodal import DataError
from polymodal.cli.main import main
from polymodal.data import contact_sheet, infer_fields, inspect
from polymodal.data.cache import build_column
from polymodal.evaluation import write_report
from polymodal.generation import read, write
from polymodal.modalities import MODALITIES, ColumnSample, Modality
from polymodal.tables import Table, open_table
from polymodal.types import Field, Space


@dataclass(frozen=True)
class Clip:
    """Frames (T, C, H, W) of a video."""

    frames: np.ndarray

    def save(self, path: str | Path) -> None:
        np.save(path, self.frames)


class ToyVideo(Modality):
    """Videos of one size in colour; the number of frames varies.

    Args:
        size: Side in pixels.
        max_frames: A longer video is refused.
    """

    dtype = np.uint8
    suffix = ".npy"
    suffixes = (".npy",)

    def __init__(self, size: int = 8, max_frames: int = 6) -> None:
        self.size, self.max_frames = size, max_frames
        self.space = Space("continuous", (3, max_frames, size, size), varies=1, bounds=(-1.0, 1.0))

    def read(self, raw: Any) -> np.ndarray:
        try:
            if isinstance(raw, bytes | Path):
                raw = np.load(io.BytesIO(raw) if isinstance(raw, bytes) else raw, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"not a video: {error}") from error
        frames = raw.frames if isinstance(raw, Clip) else raw
        rest = (3, self.size, self.size)
        if not isinstance(frames, np.ndarray) or frames.shape[1:] != rest or frames.dtype != np.uint8:
            raise DataError(f"a {type(raw).__name__} is not a video: (frames, 3, {self.size}, {self.size}) in uint8 is")
        if not 0 < len(frames) <= self.max_frames:
            raise DataError(f"{len(frames)} frames; 1 to max_frames={self.max_frames}")
        return np.ascontiguousarray(frames)

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.movedim(1, 2).float() / 127.5 - 1

    def write(self, value: Tensor) -> Clip:
        return Clip(((value + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(1, 0).cpu().numpy())

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        frames = sample.first.frames if isinstance(sample.first, Clip) else sample.first
        if isinstance(frames, np.ndarray) and frames.ndim == 4:
            return cls(size=frames.shape[-1], max_frames=max(len(cls._frames(cell)) for cell in sample.cells))
        return cls() if sample.suffix in cls.suffixes or (sample.content or b"").startswith(b"\x93NUMPY") else None

    @staticmethod
    def _frames(cell: Any) -> np.ndarray:
        return cell.frames if isinstance(cell, Clip) else cell

    def encode(self, thing: Clip) -> bytes:
        file = io.BytesIO()
        thing.save(file)
        return file.getvalue()

    def thumbnail(self, thing: Clip, side: int) -> PILImage.Image:
        return PILImage.fromarray(thing.frames[0].transpose(1, 2, 0)).resize((side, side))


class ToyPoints(Modality):
    """Clouds of points in space; their number varies. A cell of a table holds their coordinates.

    Args:
        max_points: A larger cloud is refused.
    """

    dtype = np.float32
    suffix = ".json"
    suffixes = (".json",)
    inline = True

    def __init__(self, max_points: int = 16) -> None:
        self.max_points = max_points
        self.space = Space("continuous", (3, max_points), varies=1)

    def read(self, raw: Any) -> np.ndarray:
        try:
            raw = raw.read_bytes() if isinstance(raw, Path) else raw
            points = np.asarray(json.loads(raw) if isinstance(raw, str | bytes) else list(raw), dtype=self.dtype)
        except (TypeError, ValueError, OSError) as error:
            raise DataError(f"not points: {error}") from error
        if points.ndim != 2 or points.shape[1] != 3 or not 0 < len(points) <= self.max_points:
            raise DataError(f"points of shape {points.shape}; (1 to {self.max_points}, 3) is right")
        return points

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.mT.float()

    def write(self, value: Tensor) -> np.ndarray:
        return value.mT.cpu().numpy()

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        points = np.asarray(sample.first) if isinstance(sample.first, list | np.ndarray) else np.empty(0)
        return cls() if points.ndim == 2 and points.shape[1] == 3 else None

    def encode(self, thing: np.ndarray) -> bytes:
        return json.dumps(thing.tolist()).encode()

    def cell(self, thing: np.ndarray) -> list[list[float]]:
        return thing.tolist()

    def thumbnail(self, thing: np.ndarray, side: int) -> PILImage.Image:
        picture = PILImage.new("RGB", (side, side))
        places = [tuple(place) for place in ((thing[:, :2] + 1) * side / 2).tolist()]
        ImageDraw.Draw(picture).point(places, fill="white")
        return picture


@pytest.fixture(autouse=True)
def added(monkeypatch):
    """The line that each of them takes."""
    monkeypatch.setitem(MODALITIES, "toyvideo", ToyVideo)
    monkeypatch.setitem(MODALITIES, "dots", ToyPoints)


def a_video(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (1 + i % 6, 3, 8, 8), dtype=np.uint8)


def some_points(i: int) -> np.ndarray:
    return np.random.default_rng(100 + i).uniform(-1, 1, (3 + i % 7, 3)).astype(np.float32)


ROWS = [
    {
        "video": Clip(a_video(i)) if i % 3 else None,
        "points": some_points(i) if i % 4 else None,
        "name": f"row number {i}",
    }
    for i in range(24)
]


@pytest.fixture
def data(tmp_path) -> pm.Data:
    return pm.load(ROWS, infer_fields(ROWS, tmp_path), cache=tmp_path, validation=0.2, test=0.2)


def test_they_are_recognised_and_loaded(data):
    assert [type(modality) for modality in data.fields.values()] == [ToyVideo, ToyPoints, pm.Text]
    assert not data.rejected
    for i, row in enumerate(data.rows):
        np.testing.assert_array_equal(row["video"].frames if row["video"] else [], a_video(i) if i % 3 else [])
        np.testing.assert_array_equal(row["points"] if i % 4 else [], some_points(i) if i % 4 else [])
    report = {field.name: field for field in inspect(data).fields}
    assert (report["video"].modality, report["video"].present, report["video"].lengths) == ("toyvideo", 16, (2, 4, 6))
    assert (report["points"].modality, report["points"].distinct) == ("dots", 18)


def test_a_batch_pads_the_axis_that_varies(data):
    rows = data.rows
    index = np.array([0, 1, 5, 2])
    batch = rows.decode(rows.batch(index))
    video, points = batch["video"], batch["points"]
    assert video.value.shape == (4, 3, 6, 8, 8)
    assert video.lengths.tolist() == [0, 2, 6, 3]
    assert points.value.shape == (4, 3, 8)
    assert points.lengths.tolist() == [0, 4, 8, 5]
    for name, field in batch.items():
        assert field.varies == rows.fields[name].space.varies
        assert torch.equal(field.value, field.value * field.real), "values behind the mask"
        absent = Field.absent(rows.fields[name].space, 2)
        both = Field.stack([field, absent])
        assert both.lengths.tolist() == [*field.lengths.tolist(), 0, 0]
    for place, i in enumerate(index.tolist()):
        alone = rows.decode(rows.batch(np.array([i])))
        for name, field in alone.items():
            assert torch.equal(field.values()[0], batch[name].values()[place][..., : field.value.shape[-1]])
    np.testing.assert_array_equal(write(data.fields["video"], video.pick(torch.tensor([2])))[0].frames, a_video(5))
    again = read("points", data.fields["points"], some_points(5))
    assert torch.equal(again.value[0], points.values()[2])


def test_the_cache_keeps_them_whole(tmp_path, data):
    """Of any length, beside one that cannot be read, and the same from the disk."""
    video = data.fields["video"]
    raws = [a_video(0), np.zeros((2, 3, 9, 9), np.uint8), Clip(a_video(3)), a_video(5)]
    names = [video.identity(raw) for raw in raws]
    for source in (lambda: raws, lambda: pytest.fail("read again")):
        column, failures = build_column(tmp_path / "columns", video, names, source)
        assert list(failures) == [1]
        assert column.values.shape == (1 + 4 + 6, 3, 8, 8)
        assert column.offsets.tolist() == [0, 1, 5, 11]
        field = column.batch(np.array([3, 0, 2, 1]))
        assert field.value.dtype == torch.uint8
        assert field.value.shape == (4, 3, 6, 8, 8)
        np.testing.assert_array_equal(field.value[2, :, :4].movedim(0, 1), a_video(3))


def test_contents_have_names():
    video, points = ToyVideo(), ToyPoints()
    assert video.identity(Clip(a_video(1))) == video.identity(Clip(a_video(1)))
    assert len({video.identity(Clip(a_video(i))) for i in range(9)}) == 9
    assert len({video.identity(a_video(i)) for i in range(9)}) == 9
    assert len({points.identity(some_points(i).tolist()) for i in range(9)}) == 9


def test_they_are_shown(data, tmp_path):
    for name, thing in data.rows[1].items():
        shown = data.fields[name].preview(thing)
        assert isinstance(shown, Markup)
        assert shown.startswith(
            '<span class="text">' if name == "name" else '<img alt="" width="256" height="256" src="data:'
        )
    row = data.rows.select(np.array([1]))
    one = pm.Data("one", data.fields, row, row.select(np.arange(0)), row.select(np.arange(0)), [], [], {})
    with PILImage.open(contact_sheet(one, tmp_path / "sheet.png")) as sheet:
        assert sheet.width == 2 * (96 + 8) + 200 + 2 * 8
        expected = data.fields["video"].thumbnail(Clip(a_video(1)), 96)
        assert sheet.crop((8, 8, 8 + 96, 8 + 96)).getpixel((50, 50)) == expected.getpixel((50, 50))


def filled(table: Table, shards: Mapping[str, Any], folder: Path) -> None:
    """Puts things into the first shard of a table, as ``fill`` does for what a model makes."""
    fields = {"video": ToyVideo(), "points": ToyPoints()}
    table.added = [name for name in fields if name not in table.columns]
    (shard,) = table.shards()
    changes: dict[str, dict[int, Any]] = {}
    for name, modality in fields.items():
        zeros = Field.absent(modality.space, 1).value[0]
        table.prepare(name, modality.cell(modality.write(zeros)) if modality.inline else b"")
        changes[name] = {}
        for place, thing in shards[name].items():
            if modality.inline:
                content = modality.cell(thing)
            elif table.embeds:
                content = modality.encode(thing)
            else:
                (folder / f"{place}{modality.suffix}").write_bytes(modality.encode(thing))
                content = f"{place}{modality.suffix}"
            changes[name][place] = table.cell(name, content)
    part = folder / f"part{table.path.suffix}"
    table.write(part, shard, changes)
    table.join([part], folder / f"filled{table.path.suffix}")


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_cells_of_tables_hold_them(tmp_path, ending):
    path = tmp_path / f"table{ending}"
    if ending == ".jsonl":
        path.write_text('{"id": 0}\n{"id": 1, "points": [[1, 2, 3]]}\n')
    elif ending == ".csv":
        path.write_text('id,points\n0,\n1,"[[1, 2, 3]]"\n')
    else:
        pa.parquet.write_table(pa.table({"id": [0, 1]}), path)
    made = {"video": {0: Clip(a_video(0)), 1: Clip(a_video(4))}, "points": {0: some_points(3)}}
    filled(open_table(path), made, tmp_path)
    (tmp_path / f"part{ending}").unlink()
    data = pm.load(tmp_path / f"filled{ending}", {"video": ToyVideo(), "points": ToyPoints()}, cache=tmp_path / "cache")
    assert not data.rejected
    first, second = data.rows
    np.testing.assert_array_equal(first["video"].frames, a_video(0))
    np.testing.assert_array_equal(second["video"].frames, a_video(4))
    np.testing.assert_array_equal(first["points"], some_points(3))
    if ending == ".parquet":
        kinds = {field.name: field.type for field in pa.parquet.read_schema(tmp_path / "filled.parquet")}
        assert kinds["points"] == pa.list_(pa.list_(pa.float32()))
        assert kinds["video"] == pa.struct({"bytes": pa.binary(), "path": pa.string()})
    else:
        np.testing.assert_array_equal(second["points"], [[1, 2, 3]])
    if ending == ".csv":
        with (tmp_path / "filled.csv").open(newline="") as file:
            assert [line[0] for line in csv.reader(file)] == ["id", "0", "1"]


def test_the_command_line_knows_them(tmp_path, capsys):
    for i in range(6):
        (tmp_path / f"{i}.npy").write_bytes(ToyVideo().encode(Clip(a_video(i))))
    lines = [json.dumps({"clip": f"{i}.npy", "cloud": some_points(i).tolist()}) for i in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    sheet = tmp_path / "sheet.png"
    assert main(["data", "inspect", str(tmp_path / "rows.jsonl"), "--sheet", str(sheet)]) == 0
    shown = capsys.readouterr().out
    for words in ("video", "dots", "3x6x8x8", "3x16"):
        assert words in shown
    assert sheet.exists()


def test_they_are_trained_generated_filled_evaluated_and_reported(data, tmp_path):
    """By the flagship recipe as it is."""
    small = {"width": 16, "train.batch_size": 4, "train.validate_every": 1.0}
    run = pm.fit("any-to-any", data, steps=3, run=tmp_path / "run", set=small)
    made = run.generate({"name": "row number 3"}, to=["video", "points"], n=3, seed=1)
    assert all(isinstance(thing, Clip) and 1 <= len(thing.frames) <= 6 for thing in made["video"])
    assert all(thing.shape[1] == 3 and np.isfinite(thing).all() for thing in made["points"])
    alone = pm.open(tmp_path / "run").generate({"name": "row number 3"}, to=["video", "points"], n=1, seed=1)
    np.testing.assert_array_equal(alone["video"][0].frames, made["video"][0].frames)
    assert run.generate({"video": Clip(a_video(2)), "points": some_points(1)}, to="name", n=1)["name"][0] is not None

    table = tmp_path / "table.jsonl"
    table.write_text('{"name": "row number 1"}\n{"name": "row number 2", "points": [[0, 0, 1], [1, 0, 0]]}\n')
    done = run.fill(table, tmp_path / "filled.jsonl", columns=["video", "points"])
    assert done.filled == {"video": 2, "points": 1}
    lines = [json.loads(line) for line in (tmp_path / "filled.jsonl").read_text().splitlines()]
    assert lines[1]["points"] == [[0, 0, 1], [1, 0, 0]]
    ToyVideo().read(tmp_path / lines[0]["video"])
    ToyPoints().read(lines[0]["points"])

    card = run.evaluate(data.rows, training=data.train, judge_steps=3, n_rows=8)
    assert {"name → video", "video → points", "points → name"} <= {score.direction for score in card.scores}
    page = write_report(card, tmp_path / "report.html").read_text()
    assert page.count('<img alt="" width="256"') > 10
