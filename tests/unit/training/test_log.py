"""A log that was cut short is mended when the run goes on, and nobody stumbles over it before."""

import json
import math
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


def written(tmp_path, steps, share=1.0):
    """The line after some steps, each of which has the terms of its micro-batches."""
    clock = SimpleNamespace(seconds=1.0, progress=0.5)
    with Log(tmp_path, 0, clock, SILENT, enabled=True, share=share) as log:
        for micro_batches in steps:
            for terms in micro_batches:
                log.add("model", torch.tensor(terms.pop("loss")), {n: torch.tensor(v) for n, v in terms.items()})
            log.norm("model", torch.tensor(2.0))
            log.end_step()
        log.write(len(steps), 1e-3, 12, {})
    (line,) = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    return line


def test_numbers_that_are_not_finite_do_not_count(tmp_path):
    line = written(tmp_path, [[{"loss": loss, "name.nll": math.inf}] for loss in (2.0, math.nan, 4.0)])
    assert line["loss"] == 3.0
    assert "name.nll" not in line


def test_micro_batches_add_up_to_a_step_that_counts_once_or_not_at_all(tmp_path):
    """A step of which one part is not finite counts for nothing, however many parts it has."""
    steps = [
        [{"loss": 1.0, "a.nll": 1.0}, {"loss": 2.0, "b.nll": 2.0}],
        [{"loss": 1.0, "a.nll": 1.0}, {"loss": math.nan, "b.nll": math.nan}],
        [{"loss": math.nan, "a.nll": 5.0}, {"loss": math.nan, "a.nll": math.inf}],
        [{"loss": 3.0, "b.nll": 3.0}, {"loss": 4.0, "b.nll": 4.0}],
    ]
    line = written(tmp_path, steps, share=0.5)
    assert line["loss"] == 2 * (3.0 + 7.0) / 2
    assert line["a.nll"] == 2 * (1.0 + 1.0) / 2
    assert line["b.nll"] == 2 * (2.0 + 7.0) / 2
    assert line["gradient_norm.model"] == 2.0


def test_a_mean_beyond_32_bits_is_left_out_of_json(tmp_path):
    line = written(tmp_path, [[{"loss": 3e38, "name.nll": 1.0}] for _ in range(2)])
    assert line["name.nll"] == 1.0
    assert "loss" not in line
