"""Molecules and series as a user has them: found in a table, trained on, generated, filled, scored and explained."""

import json

import numpy as np
import pytest

pytest.importorskip("rdkit", reason="needs the extra 'molecules'")

import polymodal as pm
from polymodal.cli.main import main
from polymodal.evaluation import Judge, evaluate, write_report
from polymodal.evaluation.explanation import write_explanation

TAILS = ("O", "C(=O)O", "c1ccccc1")
KINDS = ("alcohol", "acid", "arene")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A molecule, its kind and a trace as long as its chain; a molecule and a trace that are none, and gaps."""
    folder = tmp_path_factory.mktemp("rows")
    rows = []
    for number in range(60):
        kind, chain = number % 3, 1 + number // 3 % 7
        trace = [[kind + np.sin(step / 2), step / 10] for step in range(10 + chain)]
        rows.append({"molecule": "C" * chain + TAILS[kind], "trace": trace, "kind": KINDS[kind]})
    rows[3]["molecule"], rows[4]["trace"], rows[5]["molecule"] = "C(C)(C)(C)(C)C", [[1.0, None]] * 12, None
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    parts = {"head": {"kind": "flow", "depth": 1, "heads": 2, "repeats": 1, "steps": 2}}
    recipe = {"width": 16, "defaults": {"series": parts}, "train": {"steps": 3, "batch_size": 8, "log_every": 1}}
    return pm.fit(recipe, str(table), run=tmp_path_factory.mktemp("runs") / "run")


def test_what_is_bad_loses_no_other_cell(run):
    data = run.data()
    reasons = {cell.field: cell.reason for cell in data.bad_cells}
    assert (len(data.rows), len(data.bad_cells)) == (60, 2)
    assert "greater than permitted" in reasons["molecule"]
    assert "step 0 of channel 1 is nan" in reasons["trace"]


def test_they_are_generated_as_files_and_filled_as_cells(run, table, tmp_path, capsys):
    folder = tmp_path / "out"
    given = ["--kind", "acid", "--to", "molecule", "trace", "-o", str(folder)]
    assert main(["generate", str(run.run), *given]) == 0
    assert (
        folder / "molecule-0.smi"
    ).read_text() == f"{json.loads((folder / 'generated.jsonl').read_text())['molecule']}\n"
    assert (folder / "trace-0.csv").read_text().startswith("seconds,0,1\n")
    assert (
        main(["generate", str(run.run), "--trace", str(folder / "trace-0.csv"), "--to", "kind", "-o", str(folder)]) == 0
    )
    filled = tmp_path / "filled.jsonl"
    assert main(["fill", str(run.run), str(table), "-o", str(filled)]) == 0, capsys.readouterr().err
    rows = [json.loads(line) for line in filled.read_text().splitlines()]
    assert isinstance(rows[5]["molecule"], str)


def test_they_are_scored_and_explained(run, tmp_path):
    data = run.data()
    judge = Judge.train(data.train, steps=2, batch_size=8, width=16)
    card = evaluate(run.model, data.rows, judge=judge, training=data.train, n_rows=12, samples=2)
    metrics = {(score.output, score.metric) for score in card.scores}
    wanted = {
        "molecule": ("Tanimoto similarity", "validity", "uniqueness"),
        "trace": ("correlation", "RMSE", "DTW distance"),
    }
    assert {(field, name) for field, names in wanted.items() for name in names} <= metrics
    json.loads(card.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert "<polyline" in write_report(card, tmp_path / "report.html").read_text()
    row = data.train[0]
    explanation = run.explain({"molecule": row["molecule"], "trace": row["trace"]}, "kind", steps=2, draws=1)
    assert "[C]" in write_explanation(run.model, explanation, tmp_path / "page.html").read_text()
