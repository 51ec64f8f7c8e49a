"""What Python and a notebook show of data, modalities, pipelines and samples."""

import pickle

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

import polymodal as pm


@pytest.fixture(scope="module")
def data(world, recipe):
    return pm.load(world / "rows.jsonl", recipe["fields"])


def html(thing):
    """As Jupyter asks for it."""
    shown, _ = DisplayFormatter().format(thing)
    return shown["text/html"]


def test_modalities_show_what_was_chosen(data):
    assert repr(pm.Image(size=32)) == "Image(size=32)"
    assert repr(pm.Text()) == "Text()"
    assert "names=['blue', 'green', 'red']" in repr(data.fields["colour"])
    assert len(repr(pm.Label(names=[f"name {i}" for i in range(500)]))) < 100


def test_data_show_counts_and_rows(data):
    text = repr(data)
    assert f"rows.jsonl: rows: {len(data.train)} train" in text
    assert "    picture: Image(size=16)" in text
    assert repr(data.test).startswith(f"Rows({len(data.test)} rows of rows.jsonl: picture ")
    assert html(data.train).count("<tr>") == 9
    assert "data:image/png" in html(data)


def test_samples_are_lists_and_shown(trained):
    model = pm.open(trained)
    assert "takes picture, name" in repr(model)
    made = model.generate({"name": "<b>red"}, to=["picture", "colour", "place"], n=2, options={"picture": {"steps": 1}})
    assert isinstance(made, dict)
    assert isinstance(made["colour"], list)
    assert html(made).count("data:image/png") == 2
    assert html(made["picture"]).count("<tr>") == 3
    assert repr(made["place"][0]) == f"Numbers({made['place'][0]})"
    again = pickle.loads(pickle.dumps({"colour": made["colour"]}))
    assert again == {"colour": list(made["colour"])}


def test_numbers_are_printed_with_the_digits_that_they_have():
    vector = pm.Vector(2, mean=3.0, std=2.0)
    import torch

    number = vector.write(vector.to_model(torch.from_numpy(vector.read([1.1, 2.2])[None]))[0])
    assert str(number) == "1.1, 2.2"
    assert np.asarray(number).dtype == np.float64
