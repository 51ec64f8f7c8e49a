"""Raw objects in, raw objects out."""

import numpy as np
import pytest
import torch
from PIL import Image

import polymodal as pm
from polymodal.generation import (
    CHUNK,
    between,
    contact,
    generate,
    generate_batch,
    generate_rows,
    read,
    sample_grid,
    stream,
    write,
)
from polymodal.modalities import Label, Text, Vector
from polymodal.nn.random import make_keys


@pytest.fixture(scope="module")
def model(trained):
    return pm.open(trained).model


def test_values_survive_reading_and_writing(world):
    for modality, raw in ((Text(16), "añ"), (Label(["a", "b"]), "b"), (Vector(2, mean=1.0, std=2.0), [3.0, 4.0])):
        assert np.all(np.asarray(write(modality, read("x", modality, raw))[0]) == np.asarray(raw))
    picture = read("p", pm.Image(16), str(world / "0.png"))
    assert picture.value.shape == (1, 3, 16, 16)
    assert read("v", Vector(2), "1 2").value.tolist() == [[1.0, 2.0]]
    with pytest.raises(pm.DataError, match="p: cannot read the file"):
        read("p", pm.Image(16), "no.png")


def test_more_samples_than_a_chunk_are_those_of_one(model):
    many = generate(model, {"name": "red disc"}, ["colour", "place"], n=CHUNK + 3, options={"place": {"steps": 1}})
    rest = generate(
        model, {"name": "red disc"}, ["colour", "place"], n=4, first=CHUNK - 1, options={"place": {"steps": 1}}
    )
    assert len(many["colour"]) == CHUNK + 3
    assert many["colour"][CHUNK - 1 :] == rest["colour"]
    np.testing.assert_allclose(many["place"][-4:], rest["place"], rtol=1e-4, atol=1e-4)


def test_many_rows_are_each_as_alone(model, world):
    rows = [{"name": "red disc"}, {}, {"colour": None, "picture": str(world / "0.png")}, {"name": "blue square"}]
    rows = [rows[i % 4] for i in range(CHUNK + 4)]
    options = {"place": {"steps": 1}}
    made = pm.Generator(model).generate_batch(rows, ["colour", "place"], seed=3, options=options)
    assert len(made) == len(rows)
    for k in (0, 1, 2, CHUNK + 3):
        given = {name: raw for name, raw in rows[k].items() if raw}
        alone = generate(model, given, ["colour", "place"], seed=3, first=k, options=options)
        assert made[k]["colour"] == alone["colour"][0]
        np.testing.assert_allclose(made[k]["place"], alone["place"][0], rtol=1e-4, atol=1e-4)
    assert generate_batch(model, iter(rows[:2]), "colour", seed=3, options={}) == [
        {"colour": row["colour"]} for row in made[:2]
    ]
    assert generate_batch(model, [], "colour") == []


def test_a_way_between_two_inputs_has_their_own_samples_at_its_ends(model, world):
    """Whatever is given on either side: one field or another, several or nothing."""
    one, other = {"name": "red disc", "picture": str(world / "0.png")}, {"colour": "blue"}
    for first, last in ((one, other), ({}, one)):
        way = np.stack(between(model, first, last, "place", n=5, seed=2))
        ends = [generate(model, given, ["place"], seed=2)["place"][0] for given in (first, last)]
        np.testing.assert_allclose(way[[0, -1]], np.stack(ends), rtol=1e-3, atol=1e-3)
        steps = np.abs(np.diff(way, axis=0)).max(1)
        assert (steps > 0).all()
    with pytest.raises(pm.ConfigError, match="n: 1 is not at least 2"):
        between(model, one, other, "place", n=1)
    with pytest.raises(pm.ConfigError, match="'place' is given"):
        between(model, {"place": [0, 0]}, other, "place")


def test_no_more_is_asked_for_than_memory_holds_and_any_number_is_streamed(model):
    with pytest.raises(pm.ConfigError, match=r"^n: 1,000,000,000,000 samples are .*memory is .*fewer at a time"):
        generate(model, {}, ["colour"], n=10**12)
    with pytest.raises(pm.ConfigError, match=r"^n: 1,000,000,000,000 samples are"):
        between(model, {}, {"name": "red disc"}, "colour", n=10**12)
    assert len(between(model, {}, {"name": "red disc"}, "place", n=CHUNK + 2, options={"steps": 1})) == CHUNK + 2
    chunks = stream(model, {}, ["colour", "name"], n=10**12, seed=5)
    few = generate(model, {}, ["colour", "name"], n=CHUNK + 1, seed=5)
    first, second = next(chunks), next(chunks)
    assert {name: len(things) for name, things in first.items()} == dict.fromkeys(("colour", "name"), CHUNK)
    assert {name: first[name] + second[name][:1] for name in few} == few
    for wrong in ({"n": 0}, {"to": ["clour"]}, {"given": {"nme": "x"}}):
        with pytest.raises(pm.ConfigError):
            stream(**{"model": model, "given": {}, "to": ["colour"], **wrong})


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([{}, {"nme": 1}], pm.ConfigError, "row 2: given: 'nme' is unknown; did you mean 'name'?"),
        ([{"tone": "x.wav"}], pm.ConfigError, "row 1: to: 'tone' is given"),
        ([{}, {}, {"place": "one two"}], pm.DataError, "row 3, place: "),
        ([{}, "red disc"], pm.DataError, "row 2: is a str; a mapping"),
    ],
)
def test_a_wrong_row_is_named(model, rows, error, message):
    with pytest.raises(error) as raised:
        generate_batch(model, rows, "tone")
    assert message in str(raised.value)


def test_none_is_not_given_and_objects_are_taken(model):
    free = generate(model, {}, ["colour"], n=5)
    assert generate(model, {"name": None}, ["colour"], n=5) == free
    assert generate(model, {}, "colour", n=5) == free
    for raw in (Image.new("RGB", (40, 20)), np.zeros((16, 16, 3), np.uint8)):
        assert len(generate(model, {"picture": raw}, ["name"])["name"]) == 1


def test_rows_in_chunks_are_rows_together(model):
    rows = CHUNK + 5
    keys = make_keys(0, rows)
    wanted = torch.arange(rows) % 3 == 0
    whole = model.sample({}, {}, {"name": wanted}, keys)["name"]
    parts = generate_rows(model, {}, {}, {"name": wanted}, keys)["name"]
    assert torch.equal(parts.present, wanted)
    longest = int(whole.lengths.max())
    assert torch.equal(parts.value[:, :longest], whole.value[:, :longest])


@pytest.mark.parametrize(
    ("given", "to", "options", "message"),
    [
        ({"nme": 1}, ["tone"], None, "given: 'nme' is unknown; did you mean 'name'?"),
        ({}, ["tones"], None, "to: 'tones' is unknown; did you mean 'tone'?"),
        ({}, [], None, "to: name at least one field among picture, name"),
        ({"tone": "x.wav"}, ["tone"], None, "to: 'tone' is given"),
        ({}, ["tone", "tone"], None, "to: a field is named twice"),
        ({}, ["tone"], {"picture": {"steps": 1}}, "options: 'picture' is unknown"),
        ({}, ["tone"], {"tone": {"steps": 0}}, "options.tone.steps: input should be greater than 0, not 0"),
    ],
)
def test_what_cannot_be_done_is_said(model, given, to, options, message):
    with pytest.raises(pm.ConfigError) as error:
        generate(model, given, to, options=options)
    assert message in str(error.value)


def test_a_contact_sheet_has_a_place_for_every_picture():
    red, blue = Image.new("RGB", (4, 3), "red"), Image.new("RGB", (4, 3), "blue")
    sheet = contact([[red, blue, red], [blue]], gap=1)
    assert sheet.size == (16, 9)
    assert sheet.getpixel((1, 1)) == (255, 0, 0)
    assert sheet.getpixel((1, 5)) == (0, 0, 255)
    assert sheet.getpixel((15, 8)) == (255, 255, 255)
    assert contact([[None, red], [blue]], gap=1).getpixel((1, 1)) == (255, 255, 255)


def test_a_grid_of_samples_holds_what_each_modality_shows(trained, tmp_path):
    run = pm.open(trained)
    sample_grid(run.model, run.data().train, tmp_path, count=12)
    with Image.open(tmp_path / "name-to-picture.png") as grid:
        assert (grid.height - 2) % (16 + 2) == 0  # pictures at their own size
    with Image.open(tmp_path / "name-to-tone.png") as grid:
        assert grid.mode == "RGB"
    assert len(run.fields["tone"].read(tmp_path / "name-to-tone.wav"))
    lines = (tmp_path / "samples.txt").read_text().splitlines()
    assert any(line.startswith("picture-to-name: '") and "' -> '" in line for line in lines)
    assert any(line.startswith("name-to-place: [") and "] -> [" in line for line in lines)
