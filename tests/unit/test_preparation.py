"""Everyday words of training, and fields that are recognised and corrected."""

import json

import pytest
import torch

import polymodal as pm
from polymodal.cli.main import main
from polymodal.preparation import everyday_settings, prepare

RECIPE = {"width": 16}


@pytest.fixture
def table(tmp_path):
    rows = [{"name": f"thing {i % 7}", "size": i % 3, "place": f"{i} {2 * i}", "sku": f"A-{i}"} for i in range(40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_one_guessed_field_is_corrected_and_the_others_stay(table):
    _, guessed = prepare(RECIPE, table)
    settings = {"fields.place.modality": "vector", "fields.place.size": 2, "fields.size": None, "fields.name.weight": 2}
    recipe, data = prepare(RECIPE, table, settings)
    assert set(guessed.fields) - set(data.fields) == {"size"}
    assert isinstance(data.fields["place"], pm.Vector)
    assert data.fields["name"].state() == guessed.fields["name"].state()
    assert recipe.fields["name"].weight == 2
    assert any("'sku' is no field" in note for note in data.notes)


def test_a_column_that_was_left_out_becomes_a_field(table):
    _, data = prepare(RECIPE, table, {"fields.sku.modality": "text"})
    assert isinstance(data.fields["sku"], pm.Text)
    assert not any("'sku' is no field" in note for note in data.notes)


def test_parts_of_a_guessed_field_are_chosen(table):
    recipe, _ = prepare(RECIPE, table, {"fields.name.head.kind": "recurrent"})
    assert recipe.fields["name"].head == {"kind": "recurrent"}
    assert len(recipe.fields) == 3


def test_loaded_data_are_not_read_again_in_silence(table):
    data = pm.load(table)
    recipe, same = prepare(RECIPE, data, {"fields.name.weight": 3})
    assert same is data
    assert recipe.fields["name"].weight == 3
    name = next(name for name, field in data.fields.items() if isinstance(field, pm.Vector | pm.Label))
    key, value = ("size", 9) if isinstance(data.fields[name], pm.Vector) else ("names", ["a"])
    with pytest.raises(
        pm.ConfigError, match=rf"fields\.{name}\.{key}: the data are loaded with .* give it to pm\.load"
    ):
        prepare(RECIPE, data, {f"fields.{name}.{key}": value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fields.sun.size": 3}, r"fields: 'sun' is unknown.*name"),
        ({"fields.name": 3}, r"fields\.name: 3 is no mapping"),
        ({"fields.name": None, "fields.size": None, "fields.place": None}, "every recognised field is left out"),
        ({"fields.size.nams": ["a"]}, r"fields\.size: 'nams' is unknown"),
    ],
)
def test_wrong_corrections_are_told(table, settings, message):
    with pytest.raises(pm.ConfigError, match=message):
        prepare(RECIPE, table, settings)


def test_everyday_words_are_keys_of_the_recipe():
    found = everyday_settings({"width": 32}, minutes=3, batch_size=8, size="tiny")
    assert found == {"width": 32, "train.minutes": 3, "train.batch_size": 8, "size": "tiny"}
    with pytest.raises(pm.ConfigError, match="minutes, steps: both"):
        everyday_settings(minutes=3, steps=4)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu", "mps"])
def test_a_device_that_is_not_there_is_one_line(table, trained, tmp_path, device, capsys):
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    commands = (
        ["train", "any-to-any", "--data", str(table), "-o", str(tmp_path / "run")],
        ["generate", str(trained), "--to", "name", "-o", str(tmp_path)],
    )
    for command in commands:
        assert main([*command, "--device", device]) == 2
        assert capsys.readouterr().err.startswith(f"polymodal: error: device: '{device}' is not on this machine")
    assert not (tmp_path / "run").exists()


def test_the_command_takes_everyday_words(world, recipe_file, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["--steps", "2", "--batch-size", "4", "--device", "cpu", "--set", "train.codec_steps=1"]
    assert main(["train", str(recipe_file), "--data", str(world / "rows.jsonl"), "-o", str(run), *words]) == 0
    train = json.loads((run / "config.json").read_text())["recipe"]["train"]
    assert (train["steps"], train["batch_size"]) == (2, 4)
    assert "training 100%  0:00 left  step 2" in capsys.readouterr().out
