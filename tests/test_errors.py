"""What a user is told: one line that names the field, the value and the remedy, and exit status 2."""

import json
import shutil

import pytest

import polymodal as pm
from polymodal.checkpoint import FORMAT
from polymodal.cli.main import main
from polymodal.config import load_recipe, recipe_names
from polymodal.data import parse_fields
from polymodal.errors import ConfigError, unknown
from polymodal.heads import HEADS
from polymodal.modalities import MODALITIES
from refusals import check_message


@pytest.fixture
def refuse(capsys):
    """Runs a command that must fail; its one line must hold all parts, the first at its beginning."""

    def run(command: tuple[object, ...], *parts: object) -> None:
        status = main([str(word) for word in command])
        out, err = capsys.readouterr()
        assert status == 2, (out, err)
        assert err.startswith("polymodal: error: ")
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1
        check_message(err.removeprefix("polymodal: error: "), *map(str, parts))

    return run


def test_unknown_names_the_nearest():
    assert (
        unknown("head.kind", "gann", ["gan", "flow"]) == "head.kind: 'gann' is unknown; did you mean 'gan'? (flow, gan)"
    )
    assert unknown("to", "x", ["picture"]) == "to: 'x' is unknown; (picture)"
    assert unknown("options", "x", []) == "options: 'x' is unknown; (there is none)"


def test_what_is_quoted_is_bounded_however_long_it_is():
    long = "{" + "x" * 1_000_000
    for modality, name, value in [
        *(("text", "tokenizer", long), ("points", "count", long), (long, "any", 1)),
        *(("image", "size", [long]), ("image", "background", long), ("image", "fit", long), ("image", "kind", long)),
        *(("vector", "size", long), ("vector", "size", [1, long])),
        *(("video", "rate_hz", long), ("series", "channels", long)),
        *(("molecule", "notation", long), ("molecule", "symbols", [long, 1]), ("molecule", "symbols", [long, long])),
    ]:
        given = {"modality": modality, name: value}
        with pytest.raises(ConfigError) as error:
            parse_fields({"a": given})
        assert str(error.value).startswith("fields.a")
        assert len(str(error.value)) < 500
    for setting in ("train.steps", "fusion.kind", "fusion.depth", "train.clock", long, f"train.{long}"):
        with pytest.raises(ConfigError) as error:
            load_recipe("any-to-any", {setting: long})
        assert len(str(error.value)) < 1500  # the names that are right are told as well
    columns = [f"column {number}" for number in range(10_000)]
    told = str(ConfigError(unknown("fields.a.column", "colum 1", columns) + "\nrename it"))
    assert told.startswith("fields.a.column: 'colum 1' is unknown; did you mean 'column 1'?")
    assert told.endswith("column 9999)\nrename it")
    assert len(told) < 2100


def test_what_was_learned_from_data_is_not_printed_whole(tmp_path):
    rows = [{"name": f"{n} words", "colour": "red"} for n in range(40)]
    data = pm.load(rows, {"name": pm.Text(16, tokenizer="bpe", vocab_size=280), "colour": "label"})
    with pytest.raises(ConfigError, match=r"^fields\.name\.tokenizer: the data are loaded with .*pm\.load") as error:
        pm.fit("any-to-any", data, run=tmp_path / "run", set={"fields.name.tokenizer": "bpe"})
    assert len(str(error.value)) < 200


def test_commands(refuse):
    refuse(("recipse",), "argument COMMAND", "'recipse'", "recipes")
    refuse((), "the following arguments are required", "COMMAND")
    refuse(("train", "any-to-any"), "train", "-o/--output", "polymodal train --help")
    refuse(("recipes", "--lsit"), "recipes: option", "'--lsit'", "--help")
    refuse(("recipes", "x"), "recipes", "'x'", "polymodal recipes --help")


def test_recipes_and_settings(refuse, recipe_file, world, tmp_path):
    data, run = world / "rows.jsonl", tmp_path / "run"
    train = ("train", recipe_file, "--data", data, "-o", run)
    refuse(
        ("train", "any-to-ani", "--data", data, "-o", run), "recipe", "'any-to-ani'", "'any-to-any'", *recipe_names()
    )
    refuse(("train", "no.yaml", "-o", run), "recipe", "no file no.yaml")
    refuse((*train, "--set", "train.minute=3"), "train", "'minute'", "'minutes'", "accumulate")
    refuse((*train, "--set", "train.steps=many"), "train.steps", "'many'", "integer")
    refuse((*train, "--set", "train.steps"), "--set train.steps", "key=value", "train.minutes=10")
    refuse((*train, "--set", "fields.name.head.kind=gann"), "fields.name.head.kind", "'gann'", "'gan'", *HEADS)
    refuse((*train, "--set", "fields.name.head.kind=flow"), "fields.name.head.kind", "'flow'", "continuous")
    refuse((*train, "--set", "fields.name.head.depth=0"), "fields.name.head.depth", "not 0", "greater than 0")
    refuse((*train, "--set", "fields.name.head.heads=3"), "fields.name.head.heads: 3", "half", "16")
    refuse((*train, "--set", "fields.name.modality=txt"), "fields.name.modality", "'txt'", "'text'", *MODALITIES)
    refuse((*train, "--set", "fields.picture.siez=3"), "fields.picture", "'siez'", "'size'", "background")
    refuse(("train", recipe_file, "-o", run), "data", "no source", "--data", "data.source")
    assert not run.exists()


def test_data(refuse, recipe_file, world, tmp_path):
    run = tmp_path / "run"
    missing = tmp_path / "no.jsonl"
    refuse(("train", recipe_file, "--data", missing, "-o", run), missing, "no such file", "emoji", "hf:owner/name")
    refuse(("data", "inspect", missing), missing, "no such file")
    rows, fields = tmp_path / "rows.jsonl", tmp_path / "fields.yaml"
    rows.write_text('{"name": "a", "colour": "red"}\n{"name": 5, "colour": "red"}\n')
    fields.write_text("name: {modality: text}\ncolour: {modality: label}\n")
    inspect = ("data", "inspect", rows, "--fields", fields)
    refuse((*inspect, "--strict"), "rows.jsonl, row 2, field 'name'", "5", "string")
    fields.write_text("[name]\n")
    refuse(inspect, "fields", fields, "picture: {modality: image, size: 64}")


def test_runs(refuse, trained, world, tmp_path):
    refuse(("info", tmp_path / "no"), tmp_path / "no", "no such run folder")
    refuse(("info", world), world, "no whole checkpoint", "checkpoints/")
    newest = tmp_path / "newest"
    shutil.copytree(trained / "checkpoints" / "step-00000008", newest)
    config = json.loads((newest / "config.json").read_text())
    assert config["format"] == FORMAT
    (newest / "config.json").write_text("{}")
    refuse(("info", newest), newest, "config.json is corrupt", "checksums.json")
    (newest / "config.json").unlink()
    refuse(("info", newest), newest, "config.json is missing")
    (newest / "checksums.json").write_text("[1, 2")
    refuse(("info", newest), newest, "checksums.json is corrupt")


def test_generate(refuse, trained, world, tmp_path):
    generate = ("generate", trained, "-o", tmp_path / "out")
    tone = (*generate, "--to", "tone")
    refuse((*generate, "--to", "pictures"), "to", "'pictures'", "'picture'", "colour")
    refuse((*tone, "--nam", "x"), "generate: option", "'--nam'", "'--name'")
    refuse((*generate, "--name", "x", "--to", "name"), "to", "'name' is given")
    refuse((*tone, "--given", "nme=x"), "given", "'nme'", "'name'", "colour")
    refuse((*tone, "--name", "x" * 30), "name", "30 bytes", "15")
    refuse((*tone, "--colour", "rad"), "colour", "'rad'", "'red'", "blue", "green")
    refuse((*tone, "--name", "@no.txt"), "@no.txt", "no file no.txt")
    refuse((*tone, "--picture", world / "0.wav"), "picture", "not a picture")
    refuse((*tone, "-n", "0"), "n: 0", "at least 1")
    refuse((*tone, "-n", "two"), "generate: argument -n", "'two'", "int")
    refuse((*tone, "--option", "steps=3"), "--option steps=3", "picture.steps=...")
    refuse((*tone, "--option", "tone.stps=3"), "options.tone", "'stps'", "'steps'", "guidance", "solver")
    refuse((*tone, "--option", "tone.steps=0"), "options.tone.steps", "not 0", "greater than 0")
    refuse((*generate, "--to", "name", "--option", "name.max_length=99"), "options.name.max_length: 99", "16")
    refuse((*tone, "tone"), "to", "twice")
    assert not (tmp_path / "out").exists()


def test_search_and_fill(refuse, trained, aligned, tmp_path):
    search = ("search", aligned, "--name", "red disc")
    refuse(search, "search", "--to")
    refuse((*search, "--to", "colour"), "to", "'colour'", "picture, name, tone, place")
    refuse(("search", aligned, "--to", "picture"), "search", "nothing is given", "picture, name, tone, place")
    refuse(("search", trained, "--name", "red disc", "--to", "picture"), "alignment", "infonce", "sigmoid")
    refuse((*search, "--to", "picture", "--index", tmp_path / "no"), tmp_path / "no", "no such file", "emoji")
    refuse(("calibrate", trained, "--cells", "0"), "--cells: 0", "at least 1")


def test_the_system_refuses(trained, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["generate", str(trained), "--to", "colour", "-o", str(tmp_path / "file" / "out")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
