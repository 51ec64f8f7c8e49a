"""What is not finite costs the cell, with a reason, wherever it comes in."""

import json

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as PILImage

import polymodal as pm
from polymodal.generation import read, write
from polymodal.modalities import MODALITIES
from polymodal.modalities.base import Modality
from polymodal.types import Field, Space

RATE = 4000
TONE = 0.5 * np.sin(np.arange(800) / 3).astype(np.float32)
SOUND = pm.Audio(sample_rate_hz=RATE, max_seconds=0.3, mels=12, n_fft=256, hop_length=64)
FIELDS = {"place": pm.Vector(2), "tone": SOUND, "picture": pm.Image(8, channels=1, range=(0, 1)), "name": pm.Text(8)}


def spoiled(values: np.ndarray, bad: float) -> np.ndarray:
    values = values.astype(np.float64)
    values.flat[3 % values.size] = bad
    return values


GREY = np.full((8, 8), 0.5)
CELLS = {
    "place: not a number": ("place", [1.0, float("nan")]),
    "place: infinite": ("place", [1.0, float("-inf")]),
    "place: beyond 32 bits": ("place", [1.0, 1e39]),
    "place: beyond 64 bits": ("place", "[1.0, 1e999]"),
    "place: a whole number beyond all": ("place", [1, 10**400]),
    "place: beyond 32 bits, as an array": ("place", np.array([1.0, 1e300])),
    "tone: not a number": ("tone", (spoiled(TONE, np.nan), RATE)),
    "tone: infinite": ("tone", (spoiled(TONE, np.inf), RATE)),
    "tone: beyond 32 bits": ("tone", (spoiled(TONE, 1e300), RATE)),
    "tone: far too loud": ("tone", (TONE * np.float32(1e20), RATE)),
    "tone: decoded": ("tone", {"array": spoiled(TONE, np.nan).tolist(), "sampling_rate": RATE}),
    "picture: not a number": ("picture", spoiled(GREY, np.nan)),
    "picture: infinite": ("picture", spoiled(GREY, np.inf)),
    "picture: of floats": ("picture", PILImage.fromarray(spoiled(GREY, np.nan).astype(np.float32))),
}


@pytest.mark.parametrize("case", CELLS)
def test_the_cell_is_missing_and_listed(case, tmp_path):
    field, cell = CELLS[case]
    good = {"place": [1.0, 2.0], "tone": (TONE, RATE), "picture": GREY, "name": "a"}
    rows = [{**good, field: cell}, *({**good, "place": [float(k), 2.0 * k]} for k in range(4))]
    data = pm.load(rows, FIELDS, cache=tmp_path, validation=0, test=0)
    assert len(data.train) == 5
    assert not data.rejected
    (bad,) = data.bad_cells
    assert (bad.row, bad.field) == (1, field)
    assert any(word in bad.reason for word in ("finite", "not a number", "beyond", "as loud as", "not a vector"))
    for name in FIELDS:
        assert data.train.batch(np.arange(5))[name].value.isfinite().all()
    with pytest.raises(pm.DataError, match=field):  # where a value is given to be generated from
        read(field, data.fields[field], cell)


def test_deviations_beyond_32_bits_are_not_made_smaller(tmp_path):
    rows = [{"place": [1e30], "name": "a"}, {"place": [1e-20], "name": "b"}]
    fields = {"place": pm.Vector(1, mean=0.0, std=1e-20), "name": pm.Text(8)}
    data = pm.load(rows, fields, cache=tmp_path, validation=0, test=0)
    assert [(bad.row, bad.field) for bad in data.bad_cells] == [(1, "place")]
    assert "standard deviations from the mean, beyond 32 bits" in data.bad_cells[0].reason


def test_a_modality_of_ones_own_need_not_see_to_it(tmp_path, monkeypatch):
    class Decibels(Modality):
        """Its logarithm of nothing is infinite."""

        dtype = np.float16
        inline = True

        def __init__(self) -> None:
            self.space = Space("continuous", (1,))

        def read(self, raw):
            return (20 * np.log10(np.array([float(raw)]))).astype(self.dtype)

        def to_model(self, stored):
            return stored.to(torch.float32)

        def write(self, value):
            return float(value)

    monkeypatch.setitem(MODALITIES, "decibels", Decibels)
    data = pm.load([{"level": 1.0}, {"level": 0.0}], {"level": Decibels()}, cache=tmp_path, validation=0, test=0)
    assert "not finite in 16 bits" in data.rejected[0].reason


def test_files_of_the_same(tmp_path):
    soundfile.write(tmp_path / "bad.wav", spoiled(TONE, np.inf).astype(np.float32), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "good.wav", TONE, RATE, subtype="FLOAT")
    np.save(tmp_path / "bad.npy", np.array([1.0, np.nan]))
    np.save(tmp_path / "good.npy", np.array([1.0, 2.0]))
    rows = [{"tone": f"{word}.wav", "place": f"{other}.npy"} for word, other in (("bad", "good"), ("good", "bad"))]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {name: FIELDS[name] for name in ("tone", "place")}
    data = pm.load(tmp_path / "rows.jsonl", fields, cache=tmp_path / "cache", validation=0, test=0)
    assert [(bad.row, bad.field) for bad in data.bad_cells] == [(1, "tone"), (2, "place")]


@pytest.mark.parametrize("worth", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("name", ["picture", "tone", "place"])
def test_what_a_diverged_model_generates_can_be_written_and_is_told(name, worth, caplog):
    modality = {"picture": pm.Image(size=8), "tone": pm.Audio(max_seconds=0.1), "place": pm.Vector(2, 0.0, 1.0)}[name]
    field = Field.absent(modality.space, 1)
    value = torch.full_like(field.value, worth)
    (thing,) = write(modality, Field(value, torch.ones_like(field.mask), torch.ones(1, dtype=torch.bool), field.varies))
    assert len(modality.encode(thing)) > 20
    assert bool(modality.preview(thing))
    assert ("not finite: its training diverged" in caplog.text) == (not np.isfinite(worth))
