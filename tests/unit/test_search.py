"""Search by a run's alignment, against brute force."""

import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import polymodal as pm
from polymodal.alignment.base import FLOOR, TINY
from polymodal.cli.main import main
from polymodal.embedding import STATISTICS_ROWS
from polymodal.search import Index


@pytest.fixture(scope="module")
def model(aligned):
    return pm.open(aligned)


@pytest.fixture(scope="module")
def data(model):
    return model.data()


def by_hand(model, data, name, rows):
    """Unit vectors (N, size), from the formulas and not the code of the index: one value at a time."""
    alignment, encoder = model.model.alignment, model.model.encoders[name]

    def encodings(rows):
        fields = [rows.decode(rows.only(name).batch(np.array([i])))[name] for i in range(len(rows))]
        with torch.no_grad():
            return torch.cat([encoder(field).mean for field in fields])

    typical = encodings(data.train.select(data.train.present[name]))
    assert len(typical) < STATISTICS_ROWS
    mean, variance = typical.mean(0), (typical - typical.mean(0)).square().mean(0)
    with torch.no_grad():
        scale = (variance + FLOOR * variance.mean() + TINY).sqrt()
        code = alignment.project.matrices[name]((encodings(rows) - mean) / scale)
    return normalize(code, dim=1).numpy()


def test_hits_are_those_of_brute_force(model, data):
    pictures = data.rows.unique("picture")
    given = {"name": "red disc", "place": [8.0, 8.0]}
    hits = model.search(given, "picture", k=7)
    vectors = by_hand(model, data, "picture", pictures)
    asked = pm.load([given], {"name": model.fields["name"], "place": model.fields["place"]}, test=0, validation=0).train
    query = sum(by_hand(model, data, name, asked)[0] for name in given)
    similarities = vectors @ (query / np.linalg.norm(query))
    order = np.argsort(-similarities)[:7]
    assert [hit.rank for hit in hits] == list(range(1, 8))
    assert [hit.row for hit in hits] == (pictures.index[order] + 1).tolist()
    assert [hit.similarity for hit in hits] == pytest.approx(similarities[order].tolist(), abs=1e-5)
    for hit, i in zip(hits, order, strict=True):
        assert np.array_equal(np.asarray(hit.value), np.asarray(pictures[int(i)]["picture"]))
        assert hit.fields["name"] == pictures[int(i)]["name"]


def test_a_value_finds_itself_and_equal_ones_count_once(model, data):
    names = model.search({"name": "blue square"}, "name", k=50)
    assert names[0].value == "blue square"
    assert names[0].similarity == pytest.approx(1, abs=1e-5)
    assert len(names) == len({hit.value for hit in names}) == 6


def test_the_index_is_built_once(aligned, data, tmp_path, monkeypatch):
    run = shutil.copytree(aligned, tmp_path / "run", ignore=shutil.ignore_patterns("index"))
    found = pm.open(run).search({"name": "red disc"}, "picture", k=3)
    (folder,) = [path for path in (run / "index").iterdir() if path.is_dir()]
    monkeypatch.setattr(Index, "build", None)
    again = pm.open(run)
    assert again.search({"name": "red disc"}, "picture", k=3)[0].row == found[0].row
    assert again.search({"name": "red disc"}, "picture", k=3, index=data.rows) != []
    assert [path for path in (run / "index").iterdir() if path.is_dir()] == [folder]


def test_rows_of_a_split_and_of_another_source(model, data, world, tmp_path):
    hits = model.search({"name": "green disc"}, "picture", index="test", k=100)
    assert {hit.row for hit in hits} == set((data.test.unique("picture").index + 1).tolist())
    shutil.copytree(world, tmp_path / "pictures")
    (tmp_path / "pictures" / "rows.jsonl").unlink()
    manifest = "".join(f'{{"picture": "{number}.png"}}\n' for number in (4, 2, 9))
    (tmp_path / "pictures" / "some.jsonl").write_text(manifest)
    hits = model.search({"name": "green disc"}, "picture", index=tmp_path / "pictures" / "some.jsonl")
    assert sorted(hit.row for hit in hits) == [1, 2, 3]
    assert set(hits[0].fields) == {"picture"}
    with pytest.raises(pm.DataError, match="to: no row of the index has 'tone'; they have picture"):
        model.search({"name": "green disc"}, "tone", index=tmp_path / "pictures" / "some.jsonl")


def test_a_killed_build_leaves_no_half_index(aligned, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(aligned, run, ignore=shutil.ignore_patterns("index"))
    code = (
        "import sys, time, polymodal as pm, polymodal.search as s\n"
        "write = s._faiss().write_index\n"
        "def slow(*a):\n    write(*a); print('begun', flush=True); time.sleep(60)\n"
        "s._faiss().write_index = slow\n"
        "pm.open(sys.argv[1]).index()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (partial,) = [path for path in (run / "index").iterdir() if path.is_dir()]
    assert partial.name.startswith(".partial-")
    start = time.monotonic()
    assert pm.open(run).search({"name": "red disc"}, "picture", k=1)[0].rank == 1
    assert time.monotonic() - start < 30
    assert not partial.exists()
    assert (run / "index" / partial.name.partition("--")[2]).is_dir()


def test_mistakes_are_told(model, trained):
    index = model.index()
    for given, to, message in (
        (
            {"name": "red disc"},
            "colour",
            "to: 'colour' is not aligned with the other fields; picture, name, tone, place",
        ),
        ({"colour": "red"}, "picture", "given: 'colour' is not aligned with the other fields"),
        ({"name": "red disc"}, "pictur", "to: 'pictur' is unknown; did you mean 'picture'"),
        ({"nam": "red disc"}, "picture", "given: 'nam' is unknown; did you mean 'name'"),
    ):
        with pytest.raises(pm.ConfigError, match=message):
            index.search(given, to)
    with pytest.raises(pm.ConfigError, match="k: 0 is not at least 1"):
        index.search({"name": "red disc"}, "picture", k=0)
    with pytest.raises(pm.DataError, match="search: nothing is given; give at least one of picture, name, tone, place"):
        index.search({}, "picture")
    with pytest.raises(pm.ConfigError, match="the run was trained without; search needs one that tells rows apart"):
        pm.open(trained).search({"name": "red disc"}, "picture")


def test_the_command_prints_and_writes(aligned, world, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["search", str(aligned), "--name", "red disc", "--to", "picture", "-k", "3", "-o", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "similarity" in shown
    assert (out / "picture-1.png").is_file()
    assert (out / "index.html").read_text().count("rank ") == 3
    assert main(["search", str(aligned), "--picture", str(world / "0.png"), "--to", "name", "-k", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
