"""Fakes made of real photographs of clothes: each is exposed by its name, and an honest generator is not accused."""

from copy import copy

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.data.fashion import FIELDS
from polymodal.errors import DataError
from polymodal.evaluation import Judge, evaluate
from polymodal.evaluation.scorecard.faults import BLURRED, COPIES, IGNORES, SAME
from polymodal.types import Field


def pictures(rows) -> torch.Tensor:
    return rows.decode(rows.only("picture").batch(np.arange(len(rows))))["picture"].value


@pytest.mark.slow
def test_each_is_exposed(recipe, tmp_path):
    names = ("picture", "caption", "label")
    try:
        data = pm.load("fashion:train=3000", fields={name: FIELDS[name] for name in names})
    except DataError as error:
        pytest.skip(str(error))
    heads = recipe["defaults"]
    fields = {name: FIELDS[name] | heads[FIELDS[name]["modality"]] for name in names}
    one_step = recipe["train"] | {"steps": 1, "codec_steps": 1}
    model = pm.fit({"width": 16, "fields": fields, "train": one_step}, data, run=tmp_path / "run").model
    judge = Judge.train(data.train, naming="label", steps=300)
    test = data.test.select(np.arange(300))
    real, seen = pictures(test), pictures(data.train)
    own, known = (np.array(rows.column("label")) for rows in (test, data.train))
    captions = np.array(test.column("caption"))

    def another(labels: np.ndarray, row: int) -> int:
        """A row of the same class as a test row, and not the same row."""
        places = np.flatnonzero(labels == own[row])
        return int(places[(row + 1) % len(places)] if labels is known else places[places != row][row % 5])

    honest = real[[another(own, row) for row in range(len(own))]]
    answers = {
        COPIES: seen[[another(known, row) for row in range(len(own))]] + 0.01,
        IGNORES: real[np.random.default_rng(0).permutation(len(real))],
        SAME: real[:1].expand_as(real),
        BLURRED: torch.nn.functional.avg_pool2d(torch.nn.functional.pad(honest, [2] * 4, "replicate"), 5, 1),
        None: honest,
    }
    for fault, values in answers.items():

        def sample(batch, visible, to, keys, options=None, values=values):
            written = [model.modalities["caption"].write(value) for value in batch["caption"].value]
            places = [np.flatnonzero(captions == caption) for caption in written]
            rows = [int(rows[int(key) % len(rows)]) for rows, key in zip(places, keys, strict=True)]
            mask = torch.ones(len(rows), 1, dtype=torch.bool)
            return {"picture": Field(values[rows], mask, mask[:, 0])}

        fake = copy(model)
        fake.sample = sample
        card = evaluate(fake, test, judge=judge, training=data.train, directions=[(["caption"], "picture")])
        assert {one.name for one in card.faults} == ({fault} if fault else set())
