"""``evaluate`` loads the run's own data again, scores every direction and shows the samples."""

import json
import shutil

import polymodal as pm
from polymodal.cli.main import main

SINGLE = 5 * 4


def test_evaluate_needs_nothing_but_the_run(trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    report = tmp_path / "report.html"
    command = ["evaluate", str(run), "--rows", "3", "--judge-steps", "2", "--report", str(report)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert str(report) in shown
    document = json.loads((run / "evaluation" / "test.json").read_text())
    directions = {(tuple(score["inputs"]), score["output"]) for score in document["scores"]}
    assert len(directions) == SINGLE
    page = report.read_text(encoding="utf-8")
    assert "<img" in page
    assert "<audio" in page
    assert main(["evaluate", str(run), "--rows", "3", "--judge-steps", "2"]) == 0
    assert json.loads((run / "evaluation" / "test.json").read_text()) == document


def test_evaluate_in_python(trained, world, capsys):
    model = pm.open(trained)
    scorecard = model.evaluate(model.data().test, judge_steps=0, n_rows=4, directions=[(["name"], "colour")])
    score = scorecard.score("name", "colour")
    assert 0 <= score.value <= 1
    assert main(["evaluate", str(trained), "--split", "validation", "--rows", "0"]) == 2
    assert capsys.readouterr().err == "polymodal: error: --rows: 0 is not at least 1\n"
