"""``polymodal explain`` and ``polymodal audit``, as a user types them."""

import json
import shutil

import pytest

from polymodal.cli.main import main


@pytest.mark.parametrize("to", ["picture", "colour", "tone"])
def test_explain(trained, world, tmp_path, to, capsys):
    page = tmp_path / "page.html"
    options = {"name": "green disc", "tone": str(world / "1.wav"), "place": None, "picture": str(world / "1.png")}
    given = [word for name, value in options.items() if value and name != to for word in (f"--{name}", value)]
    assert main(["explain", str(trained), *given, "--to", to, "-o", str(page), "--steps", "4", "--draws", "2"]) == 0
    out = capsys.readouterr().out
    assert f"What made {to}" in out
    assert str(page) in out
    html = page.read_text()
    assert "http" not in html.replace("http://www.w3.org", "")
    assert 'title="' in html  # letters on the colour of their share
    assert html.count("data:image/png") >= 2
    assert "Where the head looks" in html


def test_mistakes_of_explain(trained, capsys):
    assert main(["explain", str(trained), "--to", "picture"]) == 2
    assert "given: nothing is; give at least one of" in capsys.readouterr().err
    assert main(["explain", str(trained), "--name", "red", "--to", "name"]) == 2
    assert "'name' is given" in capsys.readouterr().err
    assert main(["explain", str(trained), "--name", "red", "--to", "colour", "--steps", "0"]) == 2
    assert "steps: 0 is not at least 1" in capsys.readouterr().err


def test_audit(trained, world, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    few = ["--data", str(world / "rows.jsonl")]
    assert main(["audit", str(run), *few]) == 2
    assert "held-out rows; 16 or more can be told apart" in capsys.readouterr().err
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()]
    shutil.copytree(world, tmp_path / "world")
    thrice = tmp_path / "world" / "thrice.jsonl"
    thrice.write_text("".join(json.dumps(row | {"id": f"{row['id']} {i}"}) + "\n" for row in rows for i in range(3)))
    command = ["audit", str(run), "--data", str(thrice), "--rows", "30", "--draws", "1"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "Membership inference" in out
    assert "Leakage" in out
    first = (run / "evaluation" / "privacy.json").read_text()
    found = json.loads(first)
    assert {one["field"] for one in found["attacks"]} == {"picture", "name", "tone", "colour", "place"}
    assert len(found["leaks"]) == 20
    assert "Membership inference" in (run / "evaluation" / "privacy.html").read_text()
    assert main([*command, "--reference", str(trained)]) == 0
    second = json.loads((run / "evaluation" / "privacy.json").read_text())
    assert second["attacks"][1]["name"] == "loss, less that of the reference"
    assert second["attacks"][0] == found["attacks"][0]
    assert main(["audit", str(run), "--rows", "0"]) == 2
    assert "--rows: 0 is not at least 1" in capsys.readouterr().err
