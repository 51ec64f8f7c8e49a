"""A world where the right answer is known: coloured shapes and their names."""

import numpy as np
import pytest
import torch

import polymodal as pm
from conftest import COLOURS, SHAPES, draw_shape
from polymodal.generation import generate_rows, write
from polymodal.nn.random import make_keys


@pytest.mark.slow
def test_learns_names_of_pictures_and_pictures_of_names(recipe, tmp_path):
    """On rows held out it names shapes, and draws the colour that it is asked for."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(400):
        colour, shape = list(COLOURS)[number % 3], SHAPES[number // 3 % 2]
        x, y = random.uniform(5, 11, 2).tolist()
        rows.append({"picture": draw_shape(colour, shape, x, y), "name": f"{colour} {shape}"})
    fields = {name: recipe["fields"][name] for name in ("picture", "name")}
    data = pm.load(rows, fields=fields, test=0.2)
    settings = {"width": 64, "fields": fields, "train.steps": 700, "train.codec_steps": 200, "train.batch_size": 32}
    model = pm.fit(recipe, data, run=tmp_path / "run", set=settings).model

    test = data.test
    batch = test.decode(test.batch(torch.arange(len(test))))
    there, keys = torch.ones(len(test), dtype=torch.bool), make_keys(0, len(test))
    made = generate_rows(model, batch, {"picture": there}, {"name": there}, keys, {"name": {"temperature": 0.0}})
    real, fake = (write(model.modalities["name"], field) for field in (batch["name"], made["name"]))
    assert np.mean([a == b for a, b in zip(real, fake, strict=True)]) > 0.9

    options = {"picture": {"steps": 12, "guidance": 2.0}}
    drawn = generate_rows(model, batch, {"name": there}, {"picture": there}, keys, options)["picture"].value
    whole = batch["picture"].value.mean((2, 3))
    centres = torch.stack([whole[[name.startswith(colour) for name in real]].mean(0) for colour in COLOURS])
    nearest = torch.cdist(drawn.mean((2, 3)), centres).argmin(1)
    asked = torch.tensor([list(COLOURS).index(name.split()[0]) for name in real])
    assert (nearest == asked).float().mean() > 0.8
