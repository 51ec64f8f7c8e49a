"""docs/benchmarks.md shows the committed results, bars that were missed included."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def document(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("document")


def results():
    return {path.stem: json.loads(path.read_text()) for path in (BENCHMARKS / "results").glob("*.json")}


def test_the_page_is_what_the_results_say(document):
    written = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert written == document.page(results()), "run `python benchmarks/document.py`"


def test_every_benchmark_is_described_and_has_its_command(document):
    assert results()
    for name, section in document.SECTIONS.items():
        script = re.match(r"(?:OMP_NUM_THREADS=\d )?python ((?:benchmarks|examples)/(\w+)\.py)\b", section.command)
        assert script
        assert (ROOT / script[1]).is_file()
        assert name == script[2] or f"--output benchmarks/results/{name}.json" in section.command


def test_a_missed_bar_is_printed_as_missed(document):
    shown = document.section("training", {"ratio": 1.06, "seconds": {"ours": [1.06], "bare": [1.0]}, "seed": 3})
    assert "| our loop over the bare loop | at most 1.05 | 1.06 | **missed** |" in shown
    assert "seed 3; an earlier version, not recorded." in shown
    assert "| at most 1.05 | 1.04 | met |" in document.section("training", {"ratio": 1.04})
    assert document.SECTIONS["training"].checked({}) == []  # what was not measured is no figure


def test_a_benchmark_without_a_section_gets_plain_tables(document):
    result = {"machine": {"processor": "P", "cores": 2, "threads": 1, "torch": "2"}, "minutes_in_all": 3.25, "rows": 7}
    result |= {"half": {"ours": {"fid": 1234.5, "fine": True}, "theirs": {"fid": 0.12345, "fine": False}}}
    shown = document.page({"unheard": result})
    assert "## Unheard" in shown
    assert "python benchmarks/unheard.py" in shown
    assert "P, 2 cores, 1 used, torch 2; 3.25 minutes in all; an earlier version, not recorded." in shown
    busy = document.page({"unheard": result | {"commit": "abc", "share_of_others": 0.31}})
    assert "version abc; **others used 31% of the machine**." in busy
    assert "rows 7." in shown
    for line in ("|  | fid | fine |", "| half, ours | 1,234 | yes |", "| half, theirs | 0.123 | no |"):
        assert line in shown.splitlines()


def test_a_part_whose_peer_is_missing_is_left_out(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--parts", "steps", "--folder", str(tmp_path)]
    told = subprocess.run([*command, "--multivae", "nothing"], check=True, capture_output=True, text=True).stdout
    how = "pip install --no-deps --target nothing multivae==1.0.3 pythae==0.1.2"
    assert f"steps is left out, as its peer is not installed: {how}" in told
    assert not list(tmp_path.iterdir())


def test_figures_of_parts_that_are_not_named_stay_with_their_call(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    pieced, output = importlib.import_module("trained_parts").pieced, tmp_path / "result.json"
    first = pieced({"command": "a", "commit": "1", "seed": 0}, {"reconstruction": [1], "generation": [2]}, output)
    assert (first["command"], first["commit"], first["generation"]) == ("a", "1", [2])
    output.write_text(json.dumps(first))
    second = pieced({"command": "b", "commit": "2", "seed": 0}, {"generation": [3]}, output)
    assert (second["reconstruction"], second["generation"]) == ([1], [3])
    assert (second["command"], second["commit"]) == ("a\nb", "reconstruction 1; generation 2")
    output.write_text(json.dumps(second))
    assert pieced({"command": "b", "commit": "2"}, {"reconstruction": [4]}, output)["commit"] == "2"
