"""A value that goes in step with what is given is learned at once by a head that looks where it is."""

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.evaluation.metrics import correlation
from polymodal.generation import generate_rows
from polymodal.nn.random import make_keys


@pytest.mark.slow
def test_a_series_is_heard_in_another_of_twice_its_rate(tmp_path):
    random, rows = np.random.default_rng(0), []
    for number in range(600):
        steps = int(random.integers(20, 41))
        mouth = np.convolve(random.normal(size=steps + 2), np.ones(3) / 3, "valid")
        sound = np.repeat(mouth, 2) + 0.1 * random.normal(size=2 * steps)
        split = "train" if number < 500 else "test"
        rows.append({"mouth": mouth[:, None], "sound": sound[:, None], "split": split})
    data = pm.load(rows, {"sound": pm.Series(1, 4.0, 20), "mouth": pm.Series(1, 4.0, 10)}, cache=tmp_path)
    found = {}
    for in_step in (False, True):
        head = {"kind": "flow", "depth": 2, "patch": 1, "repeats": 2, "predict": "data", "guidance": 1.0,
                "steps": 8, "in_step": in_step}  # fmt: skip
        encoder = {"kind": "spectrogram", "stages": 1, "depth": 1, "augment": 0.0}
        recipe = {
            "width": 64,
            "fusion": {"kind": "attention", "depth": 0},
            "fields": {
                "sound": {"modality": "series", "channels": 1, "max_seconds": 4.0, "rate_hz": 20, "role": "input",
                          "encoder": encoder},
                "mouth": {"modality": "series", "channels": 1, "max_seconds": 4.0, "rate_hz": 10, "role": "output",
                          "head": head},
            },
            "tasks": {"none": 0.0, "one": 1.0, "some": 0.0},
            "train": {"steps": 150, "batch_size": 32, "learning_rate": 2e-3},
        }  # fmt: skip
        run = pm.fit(recipe, data, run=tmp_path / f"{in_step}")
        batch = data.test.decode(data.test.batch(np.arange(len(data.test))))
        everywhere, keys = torch.ones(len(data.test), dtype=torch.bool), make_keys(0, len(data.test))
        made = generate_rows(run.model, {"sound": batch["sound"]}, {"sound": everywhere}, {"mouth": everywhere}, keys)
        pairs = zip(made["mouth"].values(), batch["mouth"].values(), strict=True)
        both = [(x[:, : min(x.shape[1], y.shape[1])], y[:, : min(x.shape[1], y.shape[1])]) for x, y in pairs]
        found[in_step] = np.mean(
            [float(correlation(x[None], y[None], torch.ones(1, x.shape[1], dtype=torch.bool))) for x, y in both]
        )
    assert found[True] > 0.9
    assert found[False] < 0.5
