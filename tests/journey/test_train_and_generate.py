"""The command line as a user types it: look at data, train, tell, generate."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import polymodal as pm
from polymodal import generation
from polymodal.cli.main import main

NAMES = ("picture", "name", "tone", "colour", "place")


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def test_inspect_prints_a_table_and_draws_a_sheet(world, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert main(["data", "inspect", str(world / "rows.jsonl"), "--sheet", str(sheet)]) == 0
    shown = capsys.readouterr().out
    assert "picture" in shown
    assert "audio" in shown
    assert size_of(sheet)[0] > 100


def test_recipes_are_listed_with_their_descriptions(capsys):
    assert main(["recipes"]) == 0
    assert "any-to-any" in capsys.readouterr().out


def test_a_run_is_self_contained_and_told(trained, capsys):
    assert main(["info", str(trained)]) == 0
    shown = capsys.readouterr().out
    for word in ("Tiny, for tests.", "picture", "spectrogram", "kl", "autoregressive", "step-00000008", "loss"):
        assert word in shown
    config = json.loads((trained / "config.json").read_text())
    assert config["recipe"]["data"]["source"].endswith("rows.jsonl")
    assert [json.loads(line)["step"] for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert list((trained / "samples").rglob("*.png"))


def test_generate_writes_what_it_says(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(generation, "CHUNK", 2)
    out = tmp_path / "out"
    command = ["generate", str(trained), "--name", "red disc", "--to", "picture", "tone", "colour", "place", "-n", "3"]
    assert main([*command, "-o", str(out), "--option", "picture.steps=2"]) == 0
    shown = capsys.readouterr().out
    assert size_of(out / "picture-2.png") == (16, 16)
    assert soundfile.info(out / "tone-0.wav").samplerate == 4000
    assert (out / "colour-1.txt").read_text().strip() in ("red", "green", "blue")
    assert np.load(out / "place-0.npy").shape == (2,)
    assert len(shown.splitlines()) == 13  # the last is a table of them all
    assert str(out / "picture-2.png") in shown
    rows = [json.loads(line) for line in (out / "generated.jsonl").read_text().splitlines()]
    assert [row["picture"] for row in rows] == ["picture-0.png", "picture-1.png", "picture-2.png"]
    assert [row["colour"] for row in rows] == [(out / f"colour-{k}.txt").read_text().strip() for k in range(3)]


def test_generate_reads_files_and_standard_input(trained, world, tmp_path, capsys, monkeypatch):
    text = tmp_path / "name.txt"
    text.write_text("red disc\n")
    shown = []
    for value in ("red disc", f"@{text}"):
        main(["generate", str(trained), "--name", value, "--to", "colour", "-o", str(tmp_path)])
        shown.append(capsys.readouterr().out)
    read, write = __import__("os").pipe()
    with open(write, "w") as file:
        file.write("red disc\n")
    with open(read) as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        main(["generate", str(trained), "--name", "-", "--to", "colour", "-o", str(tmp_path)])
    shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] == shown[2]
    picture = ["--picture", str(world / "0.png"), "--tone", str(world / "0.wav"), "--place", "5 6"]
    assert main(["generate", str(trained), *picture, "--to", "name", "-o", str(tmp_path)]) == 0


def test_every_subset_generates_every_subset(trained, world):
    model = pm.open(trained)
    values = {
        "picture": world / "0.png", "name": "red disc", "tone": world / "0.wav", "colour": "red", "place": [6, 7]
    }  # fmt: skip
    kinds = {"name": str, "colour": str, "picture": Image.Image, "place": np.ndarray}
    for count in range(len(NAMES)):
        for given in itertools.combinations(NAMES, count):
            to = [name for name in NAMES if name not in given]
            made = model.generate({name: values[name] for name in given}, to=to, n=2)
            assert list(made) == to
            for name in to:
                assert len(made[name]) == 2
                assert isinstance(made[name][0], kinds.get(name, object))
    for to in itertools.chain.from_iterable(itertools.combinations(NAMES, n) for n in range(1, len(NAMES))):
        assert list(model.generate({}, to=to)) == list(to)


def test_a_sample_alone_is_that_sample_of_a_batch(trained):
    model = pm.open(trained)
    together = model.generate({"name": "blue square"}, to=["picture", "colour", "tone", "place"], n=6, seed=3)
    fewer = model.generate({"name": "blue square"}, to=["picture", "colour", "tone", "place"], n=2, seed=3)
    from polymodal.generation import generate

    for k in (0, 1, 5):
        alone = generate(
            model.model, {"name": "blue square"}, ["picture", "colour", "tone", "place"], seed=3, first=k
        )  # fmt: skip
        assert alone["colour"][0] == together["colour"][k]
        difference = np.abs(np.asarray(alone["picture"][0], int) - np.asarray(together["picture"][k], int))
        assert difference.max() <= 1
        np.testing.assert_allclose(alone["place"][0], together["place"][k], rtol=1e-4, atol=1e-4)
        assert len(alone["tone"][0]) == len(together["tone"][k])
        np.testing.assert_allclose(alone["tone"][0].samples, together["tone"][k].samples, atol=1e-2)
    assert fewer["colour"] == together["colour"][:2]
    pictures = {picture.tobytes() for picture in together["picture"]}
    assert len(pictures) == 6


def test_python_as_in_the_readme(world, recipe, tmp_path):
    fields = {"picture": pm.Image(size=16), "name": pm.Text(max_length=16), "colour": pm.Label()}
    data = pm.load(world / "rows.jsonl", fields=fields)
    own = {key: value for key, value in recipe.items() if key != "fields"}
    model = pm.fit(own, data, steps=2, run=tmp_path / "mine", set={"train.codec_steps": 1})
    out = model.generate({"name": "red disc"}, to=["picture", "colour"], n=2, seed=0)
    out["picture"][0].save(tmp_path / "disc.png")
    assert size_of(tmp_path / "disc.png") == (16, 16)

    copy = pm.Generator.from_pretrained(model.save_pretrained(tmp_path / "copy"))
    again = copy.generate({"name": "red disc"}, to=["picture", "colour"], n=2, seed=0)
    assert again["colour"] == out["colour"]
    assert [a.tobytes() for a in again["picture"]] == [b.tobytes() for b in out["picture"]]
    assert not (tmp_path / "copy" / "trainer").exists()
    assert model.data().test.fingerprint == data.test.fingerprint
    assert len(model.data(world / "rows.jsonl").test) == len(data.test)


def test_a_run_from_python_reads_its_rows_again_as_they_were_read(world, recipe, tmp_path):
    rows = world / "rows.jsonl"
    fields = {
        "shown": {"modality": "image", "size": 16, "column": "picture"},
        "said": {"modality": "text", "max_length": 16, "column": "name"},
    }
    data = pm.load(rows, fields, key="name", test=0.3)
    own = {key: value for key, value in recipe.items() if key != "fields"}
    run = tmp_path / "mine"
    pm.fit(own, data, steps=1, run=run, set={"train.codec_steps": 1})
    again = pm.open(run).data()
    assert {name: len(rows) for name, rows in again.splits.items()} == {n: len(r) for n, r in data.splits.items()}
    assert again.test.fingerprint == data.test.fingerprint
    listed = pm.load([json.loads(line) for line in rows.read_text().splitlines()], {"colour": pm.Label()})
    pm.fit(own, listed, steps=1, run=tmp_path / "listed")
    with pytest.raises(pm.ConfigError, match="give --data"):
        pm.open(tmp_path / "listed").data()


def test_fields_are_guessed_where_nobody_names_them(world, recipe, tmp_path, capsys):
    own = Path(tmp_path / "own.yaml")
    own.write_text(json.dumps({key: value for key, value in recipe.items() if key not in ("fields", "defaults")}))
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()]
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"colour": r["colour"], "place": r["place"]}) + "\n" for r in rows)
    )
    run = tmp_path / "run"
    assert (
        main(["train", str(own), "--data", str(tmp_path / "rows.jsonl"), "--set", "train.steps=1", "-o", str(run)]) == 0
    )
    shown = capsys.readouterr().out
    assert "polymodal generate" in shown
    fields = json.loads((run / "config.json").read_text())["recipe"]["fields"]
    assert {name: field["modality"] for name, field in fields.items()} == {"colour": "label", "place": "vector"}
