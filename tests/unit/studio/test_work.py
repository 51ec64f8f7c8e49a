"""Commands in work, their runs as they train, and the files of the studio."""

import json
import re

import pytest
from PIL import Image

from polymodal.studio import live
from polymodal.studio.first_rows import first_rows
from polymodal.studio.frames import frame, player
from polymodal.studio.processes import Job
from polymodal.studio.workspace import Workspace, is_run


def test_a_command_is_followed_to_its_end(tmp_path):
    job = Job(tmp_path / "job.log")
    assert (job.running, job.status, job.tail()) == (False, None, "")
    assert job.start(["info", str(tmp_path / "nowhere")])
    assert not job.start(["recipes"])
    assert job.words[0] == "info"
    assert job.wait(60)
    assert job.status == 2
    assert "nowhere" in job.tail()


def test_a_command_is_stopped(tmp_path):
    job = Job(tmp_path / "job.log")
    job.start(["recipes"])
    job.close()
    assert not job.running
    assert job.status != 0


def test_a_run_is_seen_while_it_trains(trained):
    curves = live.losses(trained)
    assert curves.count("<svg") == curves.count("<figure>") >= 4
    shown = live.samples(live.newest_samples(trained))
    newest = max(path.name for path in trained.glob("samples/step-*"))
    assert newest in shown
    assert "data:image/png;base64," in shown
    assert "<audio controls" in shown
    assert "colour" in shown


def test_nothing_is_shown_of_what_is_not_there(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    (tmp_path / "samples" / "step-00000004").mkdir(parents=True)
    assert live.newest_samples(tmp_path) is None
    assert live.losses(tmp_path) == live.samples(None) == ""


def test_a_page_in_a_frame_cannot_leave_it(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<body>"quoted" <script>1 < 2</script></body>')
    shown = frame(page)
    assert re.findall("<[a-z]+", shown) == ["<iframe"]
    assert 'sandbox="allow-scripts"' in shown
    assert player(page) == ""


def test_uploads_stay_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [tmp_path / "a.png", tmp_path / "rows.csv"]
    Image.new("RGB", (4, 4)).save(files[0])
    files[1].write_text("picture,name\na.png,x\n,y\n")
    work = Workspace(tmp_path / "studio")
    table = work.keep(files)
    assert first_rows(tmp_path / table) == (["picture", "name"], [["a.png", "x"], ["", "y"]])
    assert work.keep(files) != table
    assert work.keep(files[:1]).endswith("a.png")


def test_runs_are_found(tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a" / "checkpoints").mkdir(parents=True)
    (tmp_path / "runs" / "b").mkdir()
    assert is_run(trained)
    work = Workspace(tmp_path / "studio", run=str(trained))
    assert work.run_names() == ["runs/a", str(trained)]
    model = work.open(str(trained))
    assert work.open(str(trained)) is model


@pytest.mark.parametrize("cell", ["x" * 100, {"path": None, "bytes": b"12345"}])
def test_long_cells_are_cut(tmp_path, cell):
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table({"cell": [cell]}), tmp_path / "t.parquet")
    _, [[shown]] = first_rows(tmp_path / "t.parquet")
    assert len(shown) <= 80
    assert json.dumps(shown)
