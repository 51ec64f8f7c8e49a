"""What a user is told: one line, exactly this, and exit status 2."""

import json
import shutil

import pytest

from polymodal.checkpoint import FORMAT
from polymodal.cli.main import main
from polymodal.config import recipe_names
from polymodal.errors import unknown
from polymodal.heads import HEADS


@pytest.fixture
def told(capsys):
    """Runs a command that must fail; gives the line."""

    def run(*command: object) -> str:
        status = main([str(word) for word in command])
        out, err = capsys.readouterr()
        assert status == 2, (out, err)
        assert err.startswith("polymodal: error: ")
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1
        return err.removeprefix("polymodal: error: ").removesuffix("\n")

    return run


def test_unknown_names_the_nearest():
    assert (
        unknown("head.kind", "gann", ["gan", "flow"]) == "head.kind: 'gann' is unknown; did you mean 'gan'? (flow, gan)"
    )
    assert unknown("to", "x", ["picture"]) == "to: 'x' is unknown; (picture)"


def test_commands(told):
    assert told("recipse").startswith("argument COMMAND: invalid choice: 'recipse' (choose from ")
    assert told() == "the following arguments are required: COMMAND"
    assert told("train", "any-to-any") == (
        "train: the following arguments are required: -o/--output (see polymodal train --help)"
    )
    assert told("recipes", "--lsit") == (
        "recipes: option: '--lsit' is unknown; (--help) (see polymodal recipes --help)"
    )
    assert told("recipes", "x") == "recipes: 'x' is one argument too many (see polymodal recipes --help)"


def test_recipes_and_settings(told, recipe_file, world, tmp_path):
    data, run = world / "rows.jsonl", tmp_path / "run"
    train = ("train", recipe_file, "--data", data, "-o", run)
    assert told("train", "any-to-ani", "--data", data, "-o", run) == (
        f"recipe: 'any-to-ani' is unknown; did you mean 'any-to-any'? ({', '.join(recipe_names())})"
    )
    assert told("train", "no.yaml", "-o", run) == "recipe: there is no file no.yaml"
    assert told(*train, "--set", "train.minute=3").startswith(
        "train: key: 'minute' is unknown; did you mean 'minutes'? (accumulate, "
    )
    assert told(*train, "--set", "train.steps=many") == (
        "train.steps: input should be a valid integer, unable to parse string as an integer, not 'many'"
    )
    assert told(*train, "--set", "train.steps") == (
        "--set train.steps: not of the form key=value, such as train.minutes=10"
    )
    assert told(*train, "--set", "fields.name.head.kind=gann") == (
        f"fields.name.head.kind: 'gann' is unknown; did you mean 'gan'? ({', '.join(sorted(HEADS))})"
    )
    assert told(*train, "--set", "fields.name.head.kind=flow").startswith(
        "fields.name.head.kind: 'flow' does not fit: it models continuous values"
    )
    assert told(*train, "--set", "fields.name.modality=txt") == (
        "fields.name.modality: 'txt' is unknown; did you mean 'text'? (audio, image, label, text, vector)"
    )
    assert told(*train, "--set", "fields.picture.siez=3") == (
        "fields.picture: 'siez' is unknown; did you mean 'size'? (background, channels, fit, size)"
    )
    assert told("train", recipe_file, "-o", run) == (
        "data: no source is given, and the recipe names none; give --data, or data.source"
    )
    assert not run.exists()


def test_data(told, recipe_file, world, tmp_path):
    run = tmp_path / "run"
    missing = tmp_path / "no.jsonl"
    assert told("train", recipe_file, "--data", missing, "-o", run) == (
        f"{missing}: no such file or folder (built in: emoji, fashion; from the hub: hf:owner/name)"
    )
    assert told("data", "inspect", missing).startswith(f"{missing}: no such file or folder")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"name": "a", "colour": "red"}\n{"name": 5, "colour": "red"}\n')
    (tmp_path / "fields.yaml").write_text("name: {modality: text}\ncolour: {modality: label}\n")
    assert told("data", "inspect", rows, "--fields", tmp_path / "fields.yaml", "--strict") == (
        "rows.jsonl, row 2, field 'name': 5 (int) is not a string"
    )
    (tmp_path / "fields.yaml").write_text("[name]\n")
    assert told("data", "inspect", rows, "--fields", tmp_path / "fields.yaml") == (
        f"fields: {tmp_path}/fields.yaml is not a mapping such as picture: {{modality: image, size: 64}}"
    )


def test_runs(told, trained, world, tmp_path):
    assert told("info", tmp_path / "no") == f"{tmp_path}/no: there is no such run folder"
    assert told("info", world) == f"{world}: holds no whole checkpoint; a run folder has one under checkpoints/"
    newest = tmp_path / "newest"
    shutil.copytree(trained / "checkpoints" / "step-00000008", newest)
    config = json.loads((newest / "config.json").read_text())
    assert config["format"] == FORMAT
    (newest / "config.json").write_text("{}")
    assert told("info", newest) == f"{newest}: config.json is corrupt: its checksum differs from checksums.json"
    (newest / "config.json").unlink()
    assert told("info", newest) == f"{newest}: config.json is missing"
    (newest / "checksums.json").write_text("[1, 2")
    assert told("info", newest) == f"{newest}: checksums.json is corrupt"


def test_generate(told, trained, world, tmp_path):
    generate = ("generate", trained, "-o", tmp_path / "out")
    assert told(*generate, "--to", "pictures") == (
        "to: 'pictures' is unknown; did you mean 'picture'? (colour, name, picture, place, tone)"
    )
    assert told(*generate, "--nam", "x", "--to", "tone").startswith(
        "generate: option: '--nam' is unknown; did you mean '--name'? ("
    )
    assert told(*generate, "--name", "x", "--to", "name") == "to: 'name' is given; ask for fields that are not"
    assert told(*generate, "--given", "nme=x", "--to", "tone") == (
        "given: 'nme' is unknown; did you mean 'name'? (colour, name, picture, place, tone)"
    )
    assert told(*generate, "--name", "x" * 30, "--to", "tone") == (
        "name: the text has 30 bytes; max_length 16 holds 15"
    )
    assert told(*generate, "--colour", "rad", "--to", "tone") == (
        "colour: label: 'rad' is unknown; did you mean 'red'? (blue, green, red)"
    )
    assert told(*generate, "--name", "@no.txt", "--to", "tone") == "@no.txt: there is no file no.txt"
    assert (
        told(*generate, "--picture", world / "0.wav", "--to", "tone") == "picture: not a picture that Pillow can read"
    )
    assert told(*generate, "--to", "tone", "-n", "0") == "n: 0 is not at least 1"
    assert told(*generate, "--to", "tone", "-n", "two") == (
        "generate: argument -n: invalid int value: 'two' (see polymodal generate --help)"
    )
    assert (
        told(*generate, "--to", "tone", "--option", "steps=3")
        == "--option steps=3: names no field; write picture.steps=... for the field picture"
    )
    assert told(*generate, "--to", "tone", "--option", "tone.stps=3") == (
        "option of flow: 'stps' is unknown; did you mean 'steps'? (guidance, guidance_interval, solver, steps)"
    )
    assert told(*generate, "--to", "tone", "tone") == "to: a field is named twice"
    assert not (tmp_path / "out").exists()


def test_search_and_fill(told, trained, aligned, tmp_path):
    search = ("search", aligned, "--name", "red disc")
    assert told(*search) == "search: the following arguments are required: --to (see polymodal search --help)"
    assert told(*search, "--to", "colour") == (
        "to: 'colour' is not aligned with the other fields; picture, name, tone, place are"
    )
    assert told("search", aligned, "--to", "picture") == (
        "search: nothing is given; give at least one of picture, name, tone, place"
    )
    assert told("search", trained, "--name", "red disc", "--to", "picture") == (
        "alignment: the run was trained without; search needs one that tells rows apart (infonce, sigmoid)"
    )
    assert told(*search, "--to", "picture", "--index", tmp_path / "no") == (
        f"{tmp_path}/no: no such file or folder (built in: emoji, fashion; from the hub: hf:owner/name)"
    )
    assert told("calibrate", trained, "--cells", "0") == "--cells: 0 is not at least 1"


def test_the_system_refuses(trained, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["generate", str(trained), "--to", "colour", "-o", str(tmp_path / "file" / "out")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
