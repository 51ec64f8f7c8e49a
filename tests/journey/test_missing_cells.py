"""Training on a table with missing cells: what is missing leaves no trace, whatever stood there."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import polymodal as pm
from polymodal.data import Data

FIELDS = {
    "picture": {"modality": "image", "size": 8, "channels": 1},
    "name": {"modality": "text", "max_length": 8},
    "place": {"modality": "vector", "size": 2, "mean": 0.0, "std": 1.0},
}
SETTINGS = {
    "fields": FIELDS,
    "alignment": {"kind": "infonce"},
    "data": {"validation": 0, "test": 0},
    "train": {"steps": 6, "codec_steps": 3, "batch_size": 8, "codec_batch_size": 4, "seed": 1},
}


def table(hidden: np.ndarray, *, filled: bool) -> list[dict]:
    """Rows whose hidden cells are absent, or hold what no other row has."""
    random = np.random.default_rng(0)
    rows = []
    for number, gone in enumerate(hidden):
        pixels = random.integers(0, 128, (8, 8), dtype=np.uint8)
        row = {"picture": Image.fromarray(pixels), "name": f"n{number % 5}", "place": [float(number % 3), 1.0]}
        other = {"picture": Image.fromarray(pixels + 128), "name": f"x{number}", "place": [-9.0, float(number)]}
        rows.append({name: (other[name] if filled else None) if g else row[name]
                     for name, g in zip(FIELDS, gone, strict=True)})  # fmt: skip
    return rows


def weights(recipe: dict, data: Data, run: Path) -> dict[str, torch.Tensor]:
    return dict(pm.fit(recipe | SETTINGS, data, run=run).model.state_dict())


def test_a_cell_that_was_taken_away_trains_as_one_that_never_was(recipe, tmp_path):
    hidden = np.random.default_rng(3).random((24, 3)) < 0.4
    hidden[hidden.all(1)] = False
    absent = pm.load(table(hidden, filled=False), FIELDS, validation=0, test=0)
    whole = pm.load(table(hidden, filled=True), FIELDS, validation=0, test=0)
    rows = whole.train
    for name, gone in zip(FIELDS, hidden.T, strict=True):
        rows = rows.without(name, gone)
    taken = dataclasses.replace(whole, train=rows)

    never, after, before = (
        weights(recipe, data, tmp_path / name) for name, data in (("never", absent), ("taken", taken), ("whole", whole))
    )
    assert all(torch.equal(never[name], after[name]) for name in never)
    assert any(not torch.equal(never[name], before[name]) for name in never), "what stands in a cell is learned"
