"""Embedding and scoring by actors of Ray leave what one process leaves; a cluster that does not answer is said."""

import json
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import polymodal as pm
from polymodal.bulk.engines import Actor
from polymodal.checkpoint import digest_of
from polymodal.cli.main import main
from polymodal.errors import PolymodalError
from polymodal.evaluation.scorecard import drawn_groups

ray = pytest.importorskip("ray", reason="needs the extra 'scale'")


@pytest.fixture(scope="module")
def tables(world, tmp_path_factory) -> Path:
    """A Parquet file of texts and vectors."""
    folder = tmp_path_factory.mktemp("tables")
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()][:40]
    cells = [{"name": row.get("name"), "place": [float(i), 1.0]} for i, row in enumerate(rows)]
    pa.parquet.write_table(pa.Table.from_pylist(cells), folder / "a.parquet")
    return folder


@pytest.fixture
def cluster() -> Iterator[None]:
    """Ray on this machine, with room for one actor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        ray.init("local", num_cpus=1, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
    yield
    ray.shutdown()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_rows_are_embedded_and_scored_as_by_one_process(aligned, tables, cluster, tmp_path, monkeypatch):
    for where, engine in {"here": [], "there": ["--engine", "ray"]}.items():
        words = ["embed", str(aligned), str(tables), "-o", str(tmp_path / f"embedded-{where}"), "--group-rows", "16"]
        assert main([*words, *engine]) == 0
    assert contents(tmp_path / "embedded-there") == contents(tmp_path / "embedded-here")

    monkeypatch.setattr(drawn_groups, "GROUP_ROWS", 4)
    for run in ("here", "there"):
        shutil.copytree(aligned, tmp_path / run)
    options = ["--rows", "7", "--judge-steps", "0", "--only", "name", "picture", "place", "--samples", "2"]
    assert main(["evaluate", str(tmp_path / "here"), *options]) == 0
    monkeypatch.setattr(drawn_groups, "generate_rows", lambda *_: pytest.fail("drawn by no actor"))
    assert main(["evaluate", str(tmp_path / "there"), *options, "--engine", "ray"]) == 0
    here, there = (tmp_path / run / "evaluation" / "test.json" for run in ("here", "there"))
    assert here.read_bytes() == there.read_bytes()
    assert not list((tmp_path / "there" / "evaluation" / "cells" / "drawn").iterdir())


@pytest.fixture
def words(aligned, world, recipe_file, tables, tmp_path) -> dict[str, list[str]]:
    """Commands that work on Ray, by name."""
    out = ["-o", str(tmp_path / "out")]
    return {
        "fill": ["fill", str(aligned), str(tables), *out],
        "embed": ["embed", str(aligned), str(tables), *out],
        "evaluate": ["evaluate", str(aligned), "--rows", "3", "--judge-steps", "0", "--only", "name", "colour"],
        "train": ["train", str(recipe_file), "--data", str(world / "rows.jsonl"), *out],
    }


@pytest.mark.parametrize("command", ["fill", "embed", "evaluate", "train"])
def test_what_ray_cannot_do_is_said(command, words, tmp_path, monkeypatch, capsys):
    def told(*more: str) -> str:
        assert main([*words[command], "--engine", "ray", *more]) == 2
        return capsys.readouterr().err

    one = ("--workers", "1", "--address")
    assert "address: no cluster of Ray answers at '127.0.0.1:1'" in told(*one, "127.0.0.1:1")
    assert "HOST:PORT is right" in told(*one, "nowhere")
    assert "workers: 0 is not at least 1" in told("--workers", "0")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "ray is not installed; pip install 'polymodal[scale]'" in told("--workers", "1")
    assert not (tmp_path / "out").exists()


class Torn:
    """Work that cannot be begun."""

    threads = 1

    def start(self, model):
        raise pm.DataError("row 3: is torn")


def test_an_actor_says_what_is_wrong(aligned):
    digest = digest_of(pm.open(aligned).model)
    for its, told in (("another", "holds another model on this machine"), (digest, "row 3: is torn")):
        (error,) = Actor(str(aligned), its, Torn(), "cpu")({"item": np.array([0])})["error"]
        with pytest.raises(PolymodalError, match=told):
            raise pickle.loads(error)
