"""A log that was cut short is mended when the run goes on, and nobody stumbles over it before."""

import json
from types import SimpleNamespace

import pytest
import torch

from polymodal.cli.info import last_scores
from polymodal.evaluation.report.curves import read_curves
from polymodal.progress import Progress
from polymodal.training.log import Log, read_log

SILENT = Progress("test", shown=False)
WHOLE = b'{"step": 2, "loss": 1.5}\n{"step": 4, "loss": 1.25}\n'
TORN = (
    b'{"step": 6, "sec',
    b"\0" * 50,
    b'{"step": 6}{"step": 8}\n',
    b"5\n",
    b'"x}"\n',
    b"[1]\n",
    b'{"loss": 5}\n',
    b'{"step": "6"}\n',
    b"\xff\n",
    b"[" * 100_000,
    b"\n\n",
)


@pytest.mark.parametrize("torn", TORN, ids=lambda torn: str(torn[:12]))
def test_a_torn_log_is_mended(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(WHOLE + torn)
    assert last_scores(path) == {"loss": 1.25}
    assert read_curves(path) == {"loss": [(2.0, 1.5), (4.0, 1.25)]}
    with Log(
        tmp_path, 4, SimpleNamespace(seconds=1.0, progress=0.5), Progress("test", shown=False), enabled=True
    ) as log:
        log.decisions(4, ["so it is"])
    assert path.read_bytes() == WHOLE + b'{"step": 4, "decision": "so it is"}\n'


def test_lines_of_steps_that_are_taken_again_go(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(WHOLE)
    with Log(tmp_path, 3, SimpleNamespace(seconds=1.0, progress=0.5), SILENT, enabled=True):
        assert [line["step"] for line in read_log(tmp_path / "metrics.jsonl")] == [2]


def test_numbers_that_are_not_finite_do_not_count(tmp_path):
    with Log(
        tmp_path, 0, SimpleNamespace(seconds=1.0, progress=0.5), Progress("test", shown=False), enabled=True
    ) as log:
        for loss in (2.0, float("nan"), 4.0):
            log.add("model", torch.tensor(loss), {"name.nll": torch.tensor(float("inf"))}, first=True)
        log.leave_out({"loss": 1, "name.nll": 3})
        log.write(3, 1e-3, 12, {})
    (line,) = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert line["loss"] == 3.0
    assert "name.nll" not in line
