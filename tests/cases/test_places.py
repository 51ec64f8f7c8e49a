"""The data of a run are opened only if their place was named on this machine: a run may be anybody's."""

import logging
import shutil

import pytest

import polymodal as pm
from polymodal.cli.main import main
from polymodal.data.places import check_known, remember
from polymodal.errors import DataError


def test_what_only_a_run_names_is_not_opened(trained, world, tmp_path, monkeypatch, capsys, caplog):
    run = shutil.copytree(trained, tmp_path / "run")
    model = pm.open(run)
    rows = len(model.data().train)  # it was trained here
    monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path / "of a stranger"))
    with pytest.raises(DataError, match=r"never named on this machine.*--data"):
        model.data()
    assert model.trained_on() is None
    assert main(["evaluate", str(run), "--judge-steps", "0"]) == 2
    assert f"--data '{world / 'rows.jsonl'}'" in capsys.readouterr().err
    (tmp_path / "t.csv").write_text("name,colour\nred disc,\n")
    with caplog.at_level(logging.WARNING):
        model.fill(tmp_path / "t.csv", tmp_path / "filled.csv")
    assert "not compared" in caplog.text
    assert not list((tmp_path / "of a stranger").glob("columns/*"))
    assert len(model.data(world / "rows.jsonl").train) == rows
    assert len(model.data().train) == rows  # now it was named


@pytest.mark.parametrize(
    "source", ["furniture:folder=/etc", "moving:folder=~", "molecules:workers=999", "emoji:size=72"]
)
def test_options_of_built_in_data_are_asked_for_too(source, tmp_path):
    check_known("furniture", tmp_path)
    with pytest.raises(DataError, match=r"never named on this machine.*--data"):
        check_known(source, tmp_path)
    remember(source, tmp_path)
    check_known(source, tmp_path)


def test_scores_of_other_data_say_why_nothing_is_compared_with_training_rows(
    trained, world, tmp_path, capsys, monkeypatch
):
    run = shutil.copytree(trained, tmp_path / "run")
    monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path / "of a stranger"))
    other = shutil.copytree(world, tmp_path / "other") / "rows.jsonl"
    command = ["evaluate", str(run), "--data", str(other), "--rows", "3", "--judge-steps", "0", "--quick"]
    assert main(command) == 0
    told = capsys.readouterr().err
    assert f"never named on this machine; if you trust the run, name it once: polymodal data inspect {world}" in told
    assert main(["data", "inspect", str(world / "rows.jsonl")]) == 0
    capsys.readouterr()
    assert main(command) == 0
    assert "are not read" not in capsys.readouterr().err
