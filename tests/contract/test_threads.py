"""Every recipe that comes with the package, used from many threads at once: each gets what it would get alone."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.config import load_recipe, recipe_names
from polymodal.embedding import encode
from polymodal.evaluation.privacy.membership import row_losses
from polymodal.model import Model
from polymodal.resolution import resolve

WORDS = ("red", "green", "blue", "black")
FIELDS = {
    "picture": {"modality": "image", "size": 16},
    "name": {"modality": "text", "max_length": 8},
    "speech": {"modality": "audio", "sample_rate_hz": 4000, "max_seconds": 0.1, "n_fft": 256, "hop_length": 64,
               "mels": 8, "f_max_hz": 2000},
    "label": {"modality": "label"},
}  # fmt: skip
"""Of recipes that name none; the fields of the others are made as small."""
SMALL = {
    "image": {"size": 16},
    "text": {"max_length": 8, "tokenizer": None},
    "audio": FIELDS["speech"],
    "label": {},
    "vector": {},
    "points": {"count": 32},
    "molecule": {"max_length": 16},
    "video": {"size": 16, "frames": 4, "rate_hz": 4},
    "series": {"channels": 1, "max_seconds": 4.0, "rate_hz": 4.0},
}


def row(fields, number):
    """A value of each field."""
    random = np.random.default_rng(number)

    def numbers(size=1):
        return [float(value) for value in random.normal(size=size)]

    makers = {
        "image": lambda: random.integers(0, 256, (16, 16, 3)).astype(np.uint8),
        "text": lambda: WORDS[number % 4],
        "label": lambda: WORDS[number % 4],
        "audio": lambda: {"array": random.normal(0, 0.1, 300 + 20 * (number % 4)), "sampling_rate": 4000},
        "vector": lambda: numbers(),
        "points": lambda: random.normal(size=(32, 3)),
        "molecule": lambda: "C" * (1 + number) + "O",
        "video": lambda: random.integers(0, 256, (4, 16, 16, 3)).astype(np.uint8),
        "series": lambda: [[value] for value in numbers(8 + number % 4)],
    }
    return {name: makers[field["modality"]]() for name, field in fields.items()}


def tiny(name):
    """A recipe on small fields, its weights at random, and its rows."""
    recipe = load_recipe(name, {"size": "tiny"})
    fields = {n: {"modality": f.modality, **f.arguments, **SMALL[f.modality]} for n, f in recipe.fields.items()}
    fields = fields or FIELDS
    data = pm.load([row(fields, number) for number in range(8)], fields, validation=0, test=0)
    torch.manual_seed(0)
    model = Model(resolve(recipe, data.fields), data.fields)
    with torch.no_grad():  # no part starts at zero, where it would say the same of all inputs
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return pm.Generator(model), data.train


def calls(pipeline, rows):
    """What threads do, each with inputs of its own: generate and explain, embed and score."""
    model, to = pipeline.model, pipeline.outputs[0]
    given = [name for name in pipeline.inputs if name != to][:1]
    for number in range(3):
        raw = {name: rows[number][name] for name in given}
        one = rows.select(np.array([number]))
        yield lambda raw=raw, seed=number: plain(pipeline.generate(raw, to, seed=seed)[to][0])
        yield lambda one=one: row_losses(model, one, given, to, draws=1)
        for name in given:
            field = rows.decode(one.only(name).batch(np.arange(1)))[name]
            yield lambda name=name, field=field: encode(model, name, {name: field})
            if number:
                yield lambda name=name, raw=raw: parts(pipeline.explain(raw, to, draws=1, steps=1), name)


def parts(explanation, name):
    """The numbers of an explanation."""
    found = [getattr(explanation, kind).get(name) for kind in ("parts", "attention")]
    return np.concatenate([np.ravel(tensor) for tensor in found if tensor is not None] + [[explanation.shapley[name]]])


def plain(thing):
    """A generated object as something that can be compared."""
    return (
        getattr(thing, "samples", thing) if isinstance(thing, str) or hasattr(thing, "samples") else np.asarray(thing)
    )


@pytest.mark.parametrize("name", recipe_names())
def test_threads_get_what_they_would_get_alone(name):
    pipeline, rows = tiny(name)
    todo = list(calls(pipeline, rows))
    alone = [call() for call in todo]
    ready = Barrier(len(todo))

    def together(call):
        ready.wait()
        return call()

    with ThreadPoolExecutor(len(todo)) as threads:
        found = list(threads.map(together, todo))
    for mine, theirs in zip(alone, found, strict=True):
        np.testing.assert_array_equal(np.asarray(theirs), np.asarray(mine))
