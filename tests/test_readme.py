"""README.md is short, and what it and docs/tour.md show is run: Python and commands, on few rows, for two steps."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from polymodal.cli.main import main

ROOT = Path(__file__).parent.parent
README, TOUR = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/tour.md"))
SHORT = {"train.steps": 2, "train.codec_steps": 2, "train.batch_size": 4, "train.codec_batch_size": 4}


def commands() -> list[str]:
    """Every ``polymodal`` command of a table's cell."""
    return re.findall(r"\| `(polymodal [^`]+)` \|$", TOUR, re.MULTILINE)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with data/rows.jsonl and table.parquet, as the README assumes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    folder = tmp_path
    (folder / "data").mkdir()
    rows = []
    for number in range(24):
        colour = ("red", "green", "blue")[number % 3]
        picture = Image.new("RGB", (64, 64), colour)
        picture.putpixel((number, 0), (255, 255, 255))  # rows that share a file would be in one split
        picture.save(folder / "data" / f"{number}.png")
        tone = 0.3 * np.sin(np.arange(6400) * (0.05 + 0.05 * (number % 3)) + number)
        soundfile.write(folder / "data" / f"{number}.flac", tone, 16_000)
        rows.append({"picture": f"{number}.png", "name": f"{colour} {number}", "speech": f"{number}.flac"})
    (folder / "data" / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    many = [row | {"name": f"{row['name']} {copy}"} for row in rows for copy in range(9)]
    (folder / "data" / "many.jsonl").write_text("\n".join(json.dumps(row) for row in many))
    pq.write_table(pa.table({"name": ["red apple", None], "style": ["a", "b"]}), folder / "table.parquet")
    return folder


def test_it_is_read_in_five_minutes():
    assert len(README.splitlines()) <= 70
    results = README.partition("## Results")[2].partition("\n## ")[0]
    assert results.count("\n| ") == 6 + 2  # rows below a header


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("page", [README, TOUR], ids=["README.md", "docs/tour.md"])
def test_python_example(page):
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert "minutes=10" in example
    code = example.replace("minutes=10", f"set={SHORT!r}").replace("data.test)", "data.test, judge_steps=2)")
    exec(compile(code, "example", "exec"), {})
    with Image.open("apple.png") as picture:
        assert picture.size == (64, 64)
    if "apple.wav" in page:
        assert soundfile.info("apple.wav").samplerate == 16_000
    assert Path("filled.parquet").is_file()


@pytest.mark.usefixtures("home")
def test_commands(capsys):
    lines = commands()
    assert len(lines) >= 10
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] == "train":
            place = words.index("--minutes")
            words[place : place + 2] = [w for key, value in SHORT.items() for w in ("--set", f"{key}={value}")]
        if words[0] == "evaluate":
            words += ["--judge-steps", "2"]
        if words[0] == "compare":  # a run of the same scores stands for another one
            shutil.copytree("runs/mine", "runs/other")
        if words[0] == "audit":  # the few rows held out above are too few to attack
            words += ["--data", "data/many.jsonl", "--rows", "16", "--draws", "1"]
        if words[0] == "explain":
            words += ["--steps", "2", "--draws", "1"]
        assert main(words) == 0, (line, capsys.readouterr().err)
    assert Path("sheet.png").is_file()
    assert len(list(Path("out").glob("picture-*.png"))) == 4
    assert len(list(Path("out").glob("speech-*.wav"))) == 4
    assert Path("filled.parquet").is_file()
    assert "Shapley" in Path("explain.html").read_text(encoding="utf-8")
    assert "any-to-any" in capsys.readouterr().out
