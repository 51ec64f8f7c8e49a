"""``evaluate`` loads the run's own data again, scores every direction and shows the samples."""

import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

import polymodal as pm
from polymodal.cli.main import main
from polymodal.evaluation.scorecard import drawn_groups
from polymodal.evaluation.scorecard.evaluator import Evaluator

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
    # Scores name their rows' files, so that a kill leaves no two that differ.
    assert document["cells"]
    assert all((run / "evaluation" / "cells" / f"{key}.json").is_file() for key in document["cells"].values())
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


def test_killed_it_goes_on_and_ends_as_if_it_had_not_been(trained, tmp_path, capsys):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for run in (whole, killed):
        shutil.copytree(trained, run)
    options = ["--rows", "4", "--judge-steps", "2", "--only", "picture", "name", "colour"]
    process = subprocess.Popen(
        [sys.executable, "-m", "polymodal", "evaluate", str(killed), *options], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (kept := sorted((killed / "evaluation" / "cells").glob("*.json"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = sorted((killed / "evaluation" / "cells").glob("*.json"))
    assert len(kept) < 6  # directions
    assert not (killed / "evaluation" / "test.json").exists()
    times = [file.stat().st_mtime_ns for file in kept]

    for run in (killed, whole):
        assert main(["evaluate", str(run), *options]) == 0
    assert [file.stat().st_mtime_ns for file in kept] == times  # what was measured is not measured again
    first, second = ((run / "evaluation" / "test.json").read_bytes() for run in (killed, whole))
    assert first == second  # and two runs of one seed give the same to the byte


def test_shards_draw_what_is_then_scored(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(drawn_groups, "GROUP_ROWS", 4)
    options = ["--rows", "9", "--judge-steps", "0", "--only", "name", "colour", "place", "--samples", "2"]
    for run in ("whole", "shared"):
        shutil.copytree(trained, tmp_path / run)
    assert main(["evaluate", str(tmp_path / "whole"), *options]) == 0
    drawn = tmp_path / "shared" / "evaluation" / "cells" / "drawn"
    counts = []
    for shard in ("3/3", "1/3", "2/3"):
        assert main(["evaluate", str(tmp_path / "shared"), *options, "--shard", shard]) == 0
        counts.append(len(list(drawn.iterdir())))
    assert 0 < counts[0] < counts[1] < counts[2]
    assert f"of {counts[2]} groups are drawn" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(drawn_groups, "generate_rows", lambda *_: pytest.fail("something was drawn again"))
        assert main(["evaluate", str(tmp_path / "shared"), *options]) == 0
    whole, shared = ((tmp_path / run / "evaluation" / "test.json").read_bytes() for run in ("whole", "shared"))
    assert whole == shared
    assert not list(drawn.iterdir())
    assert main(["evaluate", str(tmp_path / "shared"), "--shard", "4/3"]) == 2
    assert "shard: 4/3 is none; 1/3 to 3/3 are" in capsys.readouterr().err


def test_what_is_sent_to_be_drawn_are_the_rows_that_are_drawn_from(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(drawn_groups, "GROUP_ROWS", 4)
    model = pm.open(trained)
    rows = model.data().train
    settings = {"n_rows": 6, "n_samples": 1, "shown": 1, "seed": 0, "options": {}}
    evaluator = Evaluator(model.model, rows, None, None, drawn=tmp_path / "here", **settings)
    work = evaluator.draw_work([(("name", "tone"), "colour"), (("picture",), "place")])
    assert [(group.start, group.end) for group in work.groups if group.output == "place"] == [(0, 4), (4, 6)]
    sent = pickle.loads(pickle.dumps(replace(work, folder=tmp_path / "there")))
    assert {*sent.columns} == {"name", "tone", "colour", "picture", "place"}
    assert max(len(column.values) for name, column in sent.columns.items() if column.offsets is None) <= 2 * 6
    for its in (work, sent):
        do = its.start(model.model)
        assert all(do(number) for number in range(len(work.groups)))
    here, there = ({file.name: file.read_bytes() for file in its.folder.iterdir()} for its in (work, sent))
    assert here == there
    assert len(here) == len(work.groups)
    with pytest.raises(pm.ConfigError, match="kept in the folder of a run; this model is of none"):
        Evaluator(model.model, rows, None, None, **settings).draw_work([])
