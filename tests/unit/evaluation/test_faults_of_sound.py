"""Fakes in a world of another kind, sound that a label names: each is exposed by its name there as well."""

from copy import copy

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.evaluation import Judge, evaluate
from polymodal.evaluation.scorecard.faults import BLURRED, COPIES, IGNORES, SAME
from polymodal.types import Field

RATE = 4000
KINDS = ("chirp", "clicks", "high", "low", "noise", "siren")
FIELDS = {
    "sound": pm.Audio(sample_rate_hz=RATE, max_seconds=0.512, mels=16, n_fft=256, hop_length=64),
    "kind": pm.Label(),
}


def play(kind: str, random: np.random.Generator) -> tuple[np.ndarray, int]:
    """Half a second of a kind of sound, at a pitch, loudness and moment of its own, with noise behind it."""
    seconds = np.arange(2048) / RATE
    shift, loudness = random.uniform(0.85, 1.15), random.uniform(0.5, 1.0)
    phase = {
        "low": 250 * shift * seconds,
        "high": 1300 * shift * seconds,
        "chirp": 300 * shift * seconds + 1200 * seconds**2,
        "siren": 700 * shift * seconds + 12 * np.sin(2 * np.pi * (4 * seconds + random.random())),
    }
    noise = random.standard_normal(2048)
    if kind == "clicks":
        wave = noise * ((seconds + random.random()) % 0.1 < 0.015)
    else:
        wave = 0.4 * noise if kind == "noise" else np.sin(2 * np.pi * phase[kind])
    return (0.3 * loudness * wave + 0.02 * noise).astype(np.float32), RATE


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    splits = ["train"] * 18 + ["test"] * 12
    rows = [{"sound": play(kind, random), "kind": kind, "split": split} for split in splits for kind in KINDS]
    return pm.load(rows, FIELDS, validation=0)


@pytest.fixture(scope="module")
def judge(data):
    return Judge.train(data.train, naming="kind", steps=60, batch_size=16, width=32)


@pytest.fixture(scope="module")
def model(data, recipe, tmp_path_factory):
    fields = {
        "sound": recipe["fields"]["tone"] | {"max_seconds": 0.512, "mels": 16},
        "kind": recipe["fields"]["colour"],
    }
    settings = {**recipe, "fields": fields, "train": {**recipe["train"], "steps": 1, "codec_steps": 1}}
    return pm.fit(settings, data, run=tmp_path_factory.mktemp("fakes") / "run").model


def sounds(rows) -> torch.Tensor:
    return rows.decode(rows.only("sound").batch(np.arange(len(rows))))["sound"].value


def places(rows) -> dict[str, list[int]]:
    kinds = rows.column("kind")
    return {kind: [number for number, own in enumerate(kinds) if own == kind] for kind in KINDS}


def expose(data, judge, model, values: torch.Tensor, chosen: dict[str, list[int]]) -> set[str]:
    """Faults of a generator that answers a kind with ``values`` of the rows that are ``chosen`` for it, by its key."""
    label = data.fields["kind"]

    def sample(batch, visible, to, keys, options=None):
        kinds = [label.write(value) for value in batch["kind"].value]
        rows = [chosen[kind][int(key) % len(chosen[kind])] for kind, key in zip(kinds, keys, strict=True)]
        mask = torch.ones(len(rows), values.shape[-1], dtype=torch.bool)
        return {"sound": Field(values[rows], mask, mask[:, 0], 1)}

    fake = copy(model)
    fake.sample = sample
    options = {"training": data.train, "directions": [(["kind"], "sound")], "samples": 4, "n_samples": 10}
    return {fault.name for fault in evaluate(fake, data.test, judge=judge, **options).faults}


def test_each_is_exposed(data, judge, model):
    real, seen = sounds(data.test), sounds(data.train)
    own = places(data.test)
    assert expose(data, judge, model, real, own) == set()
    assert expose(data, judge, model, seen + 0.01, places(data.train)) == {COPIES}
    assert expose(data, judge, model, real, {kind: [*range(len(real))] for kind in KINDS}) == {IGNORES}
    assert expose(data, judge, model, real, {kind: [0] for kind in KINDS}) == {SAME}
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(real, [1] * 4, "replicate"), 3, 1)
    assert expose(data, judge, model, smooth, own) == {BLURRED}
