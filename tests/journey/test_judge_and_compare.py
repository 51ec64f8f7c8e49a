"""A judge is trained by one command, scores two runs, and the runs are compared."""

import json
import re
import shutil

from polymodal.cli.main import main
from polymodal.evaluation import Judge


def test_judge_evaluate_compare(trained, world, recipe_file, tmp_path, capsys):
    folder = tmp_path / "judge"
    command = ["judge", "train", str(world / "rows.jsonl"), "--like", str(trained), "--steps", "30", "--width", "32"]
    assert main([*command, "--batch-size", "12", "-o", str(folder)]) == 0
    judge = Judge.load(folder)
    shown = capsys.readouterr().out
    assert judge.hash in shown
    assert "names picture right" in shown
    assert judge.held_out["picture"]["values"] >= 5
    assert main(["judge", "info", str(folder)]) == 0
    assert judge.hash in capsys.readouterr().out

    runs = [tmp_path / "first", tmp_path / "second"]
    shutil.copytree(trained, runs[0])
    settings = ["--set", "train.steps=2", "--set", "train.seed=1"]
    assert main(["train", str(recipe_file), "--data", str(world / "rows.jsonl"), *settings, "-o", str(runs[1])]) == 0
    asked = ["--only", "picture", "name", "tone", "--directions", "all", "--rows", "6", "--judge", str(folder)]
    for run in runs:
        assert main(["evaluate", str(run), *asked]) == 0
    shown = capsys.readouterr().out
    document = json.loads((runs[0] / "evaluation" / "test.json").read_text())
    assert document["facts"]["judge"]["hash"] == judge.hash
    assert len({(tuple(score["inputs"]), score["output"]) for score in document["scores"]}) == 9
    assert "picture + name → tone" in (runs[0] / "evaluation" / "test.html").read_text(encoding="utf-8")

    page = tmp_path / "comparison.html"
    assert main(["compare", *map(str, runs), "--report", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "first" in shown
    assert "second" in shown
    text = page.read_text(encoding="utf-8")
    assert judge.hash in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)
    assert main(["compare", str(runs[0])]) == 2
    assert capsys.readouterr().err == "polymodal: error: compare: give two runs or more\n"
    assert main(["compare", str(runs[0]), str(tmp_path)]) == 2
    assert "has no scores of its test rows; run polymodal evaluate" in capsys.readouterr().err
