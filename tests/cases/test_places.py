"""The data of a run are opened only if their place was named on this machine: a run may be anybody's."""

import logging
import shutil

import pytest

import polymodal as pm
from polymodal.cli.main import main
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
