"""Fakes made of real rows: each is exposed by its name, and an honest generator is not accused."""

from copy import copy

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import polymodal as pm
from polymodal.evaluation import Judge, evaluate
from polymodal.evaluation.scorecard.faults import BLURRED, COPIES, IGNORES, SAME
from polymodal.types import Field

COLOURS = ("red", "green", "blue", "black", "orange", "purple")


def draw(colour: str, random: np.random.Generator) -> Image.Image:
    """A textured square somewhere in 16 x 16 pixels."""
    picture = Image.new("RGB", (16, 16), "white")
    x, y = random.integers(0, 7, 2).tolist()
    ImageDraw.Draw(picture).rectangle((x, y, x + 8, y + 8), fill=colour)
    pixels = np.asarray(picture) * 0.8 + random.integers(0, 50, (16, 16, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    rows = []
    for number in range(150):
        colour = COLOURS[number % len(COLOURS)]
        split = "train" if number < 90 else "test"
        rows.append({"picture": draw(colour, random), "name": f"{colour} {number}", "split": split})
    return pm.load(rows, {"picture": pm.Image(size=16), "name": pm.Text(max_length=16)}, validation=0)


@pytest.fixture(scope="module")
def judge(data):
    coloured = pm.load(
        [row | {"name": row["name"].split()[0], "split": "train"} for row in data.train],
        {"picture": pm.Image(size=16), "name": pm.Text(max_length=16)},
        validation=0,
    )
    return Judge.train(coloured.train, steps=60, batch_size=16, width=32)


@pytest.fixture(scope="module")
def model(data, recipe, tmp_path_factory):
    fields = {name: recipe["fields"][name] for name in ("picture", "name")}
    settings = {**recipe, "fields": fields, "train": {**recipe["train"], "steps": 1, "codec_steps": 1}}
    return pm.fit(settings, data, run=tmp_path_factory.mktemp("fakes") / "run").model


class Fake:
    """Answers every name with a picture of real rows, as ``choose(name, row) -> picture`` says."""

    def __init__(self, data, choose):
        self.data, self.choose = data, choose
        self.names = {row["name"]: number for number, row in enumerate(data.test)}

    def __call__(self, batch, visible, to, keys, options=None):
        modality = self.data.fields["name"]
        names = [modality.write(value) for value in batch["name"].value]
        pictures = torch.stack([self.choose(name, self.names[name]) for name in names])
        mask = torch.ones(len(names), 1, dtype=torch.bool)
        return {"picture": Field(pictures, mask, mask[:, 0])}


def pictures(rows) -> torch.Tensor:
    return rows.decode(rows.only("picture").batch(np.arange(len(rows))))["picture"].value


def expose(data, judge, model, choose) -> set[str]:
    fake = copy(model)
    fake.sample = Fake(data, choose)
    card = evaluate(fake, data.test, judge=judge, training=data.train, directions=[(["name"], "picture")], samples=4)
    return {fault.name for fault in card.faults}


def of_colour(rows, colour: str) -> list[int]:
    return [number for number, row in enumerate(rows) if row["name"].split()[0] == colour]


def another(data, real):
    """Another real held-out picture of the same colour: what an honest generator would give."""
    places = {colour: of_colour(data.test, colour) for colour in COLOURS}

    def choose(name, row):
        own = places[name.split()[0]]
        return real[own[(own.index(row) + 1) % len(own)]]

    return choose


def test_an_honest_generator_is_not_accused(data, judge, model):
    assert expose(data, judge, model, another(data, pictures(data.test))) == set()


def test_who_copies_the_training_set(data, judge, model):
    seen = pictures(data.train)
    places = {colour: of_colour(data.train, colour) for colour in COLOURS}

    def choose(name, row):
        own = places[name.split()[0]]
        return seen[own[row % len(own)]] + 0.01

    assert expose(data, judge, model, choose) == {COPIES}


def test_who_ignores_the_input(data, judge, model):
    real = pictures(data.test)
    order = np.random.default_rng(1).permutation(len(real))
    assert expose(data, judge, model, lambda name, row: real[order[row]]) == {IGNORES}


def test_who_always_gives_one_good_sample(data, judge, model):
    real = pictures(data.test)
    assert expose(data, judge, model, lambda name, row: real[0]) == {SAME}


def test_who_is_right_but_blurred(data, judge, model):
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(pictures(data.test), [1] * 4, "replicate"), 3, 1)
    assert expose(data, judge, model, another(data, blurred)) == {BLURRED}


def test_the_evidence_has_figures(data, judge, model):
    fake, real = copy(model), pictures(data.test)
    fake.sample = Fake(data, lambda name, row: real[0])
    card = evaluate(fake, data.test, judge=judge, training=data.train, directions=[(["name"], "picture")], samples=4)
    (fault,) = card.faults
    assert fault.direction == "name → picture"
    assert "0.0% as far apart" in fault.evidence
    nearest = card.samples["name → picture"][0].nearest
    assert nearest.size == (16, 16)


def test_words_that_never_change_are_told(data, judge, model):
    fake, first = copy(model), data.test.decode(data.test.only("name").batch(np.arange(1)))["name"]
    fake.sample = lambda batch, visible, to, keys, options=None: {
        "name": first.pick(torch.zeros(len(keys), dtype=torch.int64))
    }
    card = evaluate(fake, data.test, judge=judge, training=data.train, directions=[(["picture"], "name")], samples=4)
    assert [(fault.name, fault.direction) for fault in card.faults] == [(SAME, "picture → name")]
