"""Every head of text learns what a colour and a place are called."""

from typing import Any

import numpy as np
import pytest
import torch

import polymodal as pm
from conftest import COLOURS
from polymodal.generation import generate_rows, write
from polymodal.nn.random import make_keys

FIELDS: dict[str, dict[str, Any]] = {
    "name": {"modality": "text", "max_length": 24},
    "colour": {"modality": "label"},
    "place": {"modality": "vector", "size": 2},
}
HEADS: list[dict[str, Any]] = [
    {"kind": "autoregressive", "depth": 1, "heads": 2},
    {"kind": "recurrent"},
    {"kind": "recurrent", "attention": False},
    {"kind": "masked", "depth": 2, "heads": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(str(value) for value in head.values()))
def test_learns_to_say_what_is_where(head, recipe, tmp_path):
    """The texts differ in length and in two words that come from two fields."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(600):
        colour = list(COLOURS)[number % 3]
        x, y = random.uniform(-1, 1, 2).tolist()
        side = "left" if x < 0 else "right"
        rows.append({"colour": colour, "place": [x, y], "name": f"{'a' if y < 0 else 'the'} {colour} one, {side}"})
    data = pm.load(rows, fields=FIELDS, test=0.2)
    fields = {name: field | {"role": "input"} for name, field in FIELDS.items()}
    fields["name"] |= {"role": "output", "head": head}
    settings = {"width": 32, "fields": fields, "tasks": {"none": 0.0, "one": 0.0, "some": 1.0}}
    settings |= {"train.steps": 600, "train.batch_size": 32, "train.learning_rate": 3e-3}
    model = pm.fit(recipe, data, run=tmp_path / "run", set=settings).model
    batch = data.test.decode(data.test.batch(torch.arange(len(data.test))))
    there = torch.ones(len(data.test), dtype=torch.bool)
    given, keys = {"colour": there, "place": there}, make_keys(0, len(there))
    made = generate_rows(model, batch, given, {"name": there}, keys, {"name": {"temperature": 0.0}})["name"]
    real, fake = (write(model.modalities["name"], field) for field in (batch["name"], made))
    assert np.mean([a == b for a, b in zip(real, fake, strict=True)]) > 0.9
