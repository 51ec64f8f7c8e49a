"""Runs of earlier formats open: the same run under its old names, and with its old defaults, generates the same."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

import polymodal as pm
from polymodal.cli.main import main
from polymodal.config import load_recipe
from polymodal.files import file_sha256
from polymodal.migration import FORMAT, migrate_config, migrate_weights

OLD = {"proj_in": "enter", "proj_out": "leave", "proj_context": "told", "controller": "balance"}


def as_format_2(run, folder):
    """A copy of a run's checkpoint with the names that format 2 had."""
    shutil.copytree(max((run / "checkpoints").iterdir()), folder)
    for name in ("model", "ema"):
        file = folder / f"{name}.safetensors"
        weights = {".".join(OLD.get(word, word) for word in key.split(".")): v for key, v in load_file(file).items()}
        save_file(weights, file)
    config = json.loads((folder / "config.json").read_text())
    config["format"] = 2
    config["recipe"]["tasks"]["views"] = config["recipe"]["tasks"].pop("tasks_per_row")
    config["recipe"].pop("size", None)
    config["recipe"]["train"].pop("engine", None)
    (folder / "config.json").write_text(json.dumps(config))
    names = json.loads((folder / "checksums.json").read_text())
    (folder / "checksums.json").write_text(json.dumps({name: file_sha256(folder / name) for name in names}))
    return folder


def test_a_run_of_format_2_generates_what_it_did(trained, tmp_path):
    old = as_format_2(trained, tmp_path / "step-00000008")
    assert any(".enter." in name for name in load_file(old / "model.safetensors"))
    made = [
        pm.open(run).generate({"name": "red disc"}, to=["picture", "colour"], n=2, seed=3) for run in (trained, old)
    ]
    assert made[0]["colour"] == made[1]["colour"]
    assert [p.tobytes() for p in made[0]["picture"]] == [p.tobytes() for p in made[1]["picture"]]


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("head", {"kind": "flow", "inner": 32}, {"kind": "flow", "hidden_size": 32}),
        ("head", {"kind": "gan", "inner": 32}, {"kind": "gan", "hidden_size": 32}),
        ("head", {"kind": "vae", "hidden": 32}, {"kind": "vae", "hidden_size": 32}),
        (
            "head",
            {"kind": "autoregressive", "width_inside": 32, "hidden": 64},
            {"kind": "autoregressive", "hidden_size": 32, "intermediate_size": 64},
        ),
        ("vocoder", {"kind": "istft", "hidden": 32}, {"kind": "istft", "intermediate_size": 32}),
    ],
)
def test_arguments_have_their_new_names(part, old, new):
    recipe = {"fields": {"x": {"modality": "image", part: old}}, "defaults": {"image": {part: old}}}
    migrated = migrate_config({"format": 2, "recipe": recipe, "fields": {}})
    for parts in (migrated["recipe"]["fields"]["x"], migrated["recipe"]["defaults"]["image"]):
        assert parts[part] == parts[part] | new  # beside what was the default then
        assert not (old.keys() - new.keys()) & parts[part].keys()


def test_weights_have_their_new_names():
    renamed = {
        "heads.picture.balance.levels": "heads.picture.controller.levels",
        "codecs.picture.network.leave.0.weight": "codecs.picture.network.proj_out.0.weight",
        "vocoders.speech.leave_norm.bias": "vocoders.speech.proj_out_norm.bias",
        "fusion.register": "fusion.register",
    }
    assert migrate_weights(dict.fromkeys(renamed, 0)).keys() == set(renamed.values())


@pytest.mark.parametrize(
    ("head", "then"),
    [
        ({"kind": "masked"}, {"noise": 1.0}),
        ({"kind": "masked", "noise": 0.3}, {"noise": 0.3}),
        ({"kind": "gan", "loss": "wasserstein"}, {"gamma": 1.0}),
        ({"kind": "gan", "gamma": 7.0}, {"gamma": 7.0}),
    ],
)
@pytest.mark.parametrize("written", [2, 3])
def test_what_a_recipe_left_out_is_what_it_was_by_default(head, then, written):
    fields = {"x": {"modality": "image", "head": head}, "y": {"modality": "label", "head": {"steps": 3}}}
    recipe = {"fields": fields, "defaults": {"label": {"head": head}}}
    migrated = migrate_config({"format": written, "recipe": recipe, "fields": {}})
    assert migrated["format"] == FORMAT
    for parts in (migrated["recipe"]["fields"]["x"], migrated["recipe"]["defaults"]["label"]):
        assert parts["head"] == {**head, **then}
    assert migrated["recipe"]["fields"]["y"]["head"] == {"steps": 3}, "the default has them"
    today = {"format": FORMAT, "recipe": recipe, "fields": {}}
    assert migrate_config(today) == today


def test_a_decay_of_the_averages_is_a_length():
    assert load_recipe({"train": {"ema_decay": 0.999, "steps": 5}}).train.ema_length == 0.09
    assert load_recipe({"train": {"steps": 5}}, {"train.ema_decay": 0.99}).train.ema_length == 0.09
    assert load_recipe({"train": {"ema_decay": 0.999, "ema_length": 0.05}}).train.ema_length == 0.05
    old = {"format": 3, "recipe": {"train": {"ema_decay": 0.9}}, "fields": {}}
    assert migrate_config(old)["recipe"]["train"] == {"ema_length": 0.09}


def test_a_run_of_format_3_goes_on(trained, recipe_file, world, tmp_path):
    """It has one average, by a decay, which both of today begin with; and none of their snapshots."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.rmtree(run / "averages")
    for config in (run / "config.json", *run.glob("checkpoints/*/config.json")):
        document = json.loads(config.read_text())
        document["format"] = 3
        document["recipe"]["train"]["ema_decay"] = 0.998
        del document["recipe"]["train"]["ema_length"]
        config.write_text(json.dumps(document))
    for sums in run.glob("checkpoints/*/checksums.json"):
        (sums.parent / "trainer" / "averages.safetensors").unlink()
        names = [name for name in json.loads(sums.read_text()) if name != "trainer/averages.safetensors"]
        sums.write_text(json.dumps({name: file_sha256(sums.parent / name) for name in names}))
    before = pm.open(run).generate({"name": "red disc"}, to="colour", n=4, seed=1)
    assert before == pm.open(trained).generate({"name": "red disc"}, to="colour", n=4, seed=1)
    command = [
        "train",
        str(recipe_file),
        "--data",
        str(world / "rows.jsonl"),
        "-o",
        str(run),
        "--set",
        "train.steps=12",
    ]
    assert main(command) == 0
    assert (run / "checkpoints" / "step-00000012" / "trainer" / "averages.safetensors").exists()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["decision"] for line in lines if "averaged weights of length" in line.get("decision", "")]
    assert lines[-1]["step"] == 12
