"""What people type for a field, and consoles that they type it in."""

import json
import os
import subprocess
import sys
from base64 import b64encode

import pytest

import polymodal as pm
from polymodal.cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory, recipe):
    """Fields whose names and values no shell or console expects."""
    folder = tmp_path_factory.mktemp("odd")
    rows = [
        {"Caption (en)": f"@friend{i}", "[red]kind": ["赤", "b"][i % 2], "size": [80 + i, 60, 75]} for i in range(20)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"Caption (en)": pm.Text(24), "[red]kind": pm.Label(["赤"]), "size": pm.Vector(3)}
    rows = [row for row in rows if row["[red]kind"] == "赤"]
    data = pm.load(rows, fields, validation=0.2)
    pm.fit({**recipe, "fields": {}}, data, steps=2, run=folder / "run")
    return folder / "run"


@pytest.mark.parametrize(
    "given",
    [
        ["--Caption (en)", "@@friend3 look at it"],
        ["--Caption (en)=-5 degrees"],
        ["--Caption (en)", "\\-"],
        ["--given", "Caption (en)=-5 degrees"],
        ["--size", "80,60,75"],
        ["--size=-80, 60 ,75"],
        ["--size", "[80, 60, 75]"],
        ["--size", "80 60 75"],
    ],
)
def test_values_can_be_typed(run, tmp_path, given, capsys):
    assert main(["generate", str(run), *given, "--to", "[red]kind", "-o", str(tmp_path)]) == 0
    assert "[red]kind-0.txt: 赤" in capsys.readouterr().out


def test_a_text_that_begins_with_at_is_explained(run, tmp_path, capsys):
    assert main(["generate", str(run), "--Caption (en)", "@friend3 hi", "--to", "[red]kind", "-o", str(tmp_path)]) == 2
    assert "@@friend3 hi" in capsys.readouterr().err


def test_several_fields_make_a_table(trained, tmp_path, capsys):
    out = tmp_path / "out"
    to = ["name", "picture", "place"]
    assert main(["generate", str(trained), "--to", *to, "-n", "3", "-o", str(out), "--option", "picture.steps=1"]) == 0
    shown = capsys.readouterr().out
    rows = [json.loads(line) for line in (out / "generated.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == [to] * 3
    data = pm.load(out / "generated.jsonl", {"picture": pm.Image(16), "place": pm.Vector(2)})
    assert not data.rejected
    assert len(data.rows) == 3
    first = " ".join(f"{number:.7g}" for number in rows[0]["place"])
    assert f"place-0.npy: {first}\n" in shown


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_without_a_letter_shows_its_number(run, tmp_path, encoding):
    code = "import sys; from polymodal.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "generate", str(run), "--to", "[red]kind", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert b"\\u8d64" in done.stdout


def test_search_prints_paths(aligned, world, capsys):
    pytest.importorskip("faiss")
    assert main(["search", str(aligned), "--name", "red disc", "--to", "picture", "-k", "2"]) == 0
    _, first, _ = capsys.readouterr().out.splitlines()
    assert any(word.startswith(f"{world}/") and word.endswith(".png") for word in first.split())


def test_search_prints_no_path_of_what_is_no_file(aligned, world, tmp_path, capsys):
    pytest.importorskip("faiss")
    picture = (world / "0.png").read_bytes()
    cells = [f"data:image/png;base64,{b64encode(picture).decode()}", "own.png"]
    (tmp_path / "own.png").write_bytes((world / "1.png").read_bytes())
    table = tmp_path / "rows.jsonl"
    table.write_text("".join(json.dumps({"picture": cell, "name": f"name {i}"}) + "\n" for i, cell in enumerate(cells)))
    given = ["--name", "red disc", "--to", "picture", "--index", str(table)]
    assert main(["search", str(aligned), *given]) == 0
    out = capsys.readouterr().out
    assert out.count(str(tmp_path)) == 1
    assert f"{tmp_path / 'own.png'} " in out
    assert "base64" not in out
