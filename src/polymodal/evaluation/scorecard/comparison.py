"""Runs side by side: the same metrics on the same rows, with the significance of their differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from polymodal.errors import CheckpointError, ConfigError
from polymodal.evaluation.metrics import holm, paired_bootstrap
from polymodal.evaluation.scorecard.evaluator import DirectionResult
from polymodal.evaluation.scorecard.scorecard import Score, number

LEVEL = 0.05
"""Probability, corrected for the number of comparisons, below which a difference is significant."""


@dataclass(frozen=True)
class Evaluation:
    """What ``polymodal evaluate`` left in a run.

    Attributes:
        name: Of the run.
        scores: All of them.
        facts: What they depend on.
        cells: By direction, row by row.
    """

    name: str
    scores: list[Score]
    facts: Mapping[str, Any]
    cells: Mapping[str, DirectionResult]


@dataclass(frozen=True)
class Difference:
    """One metric of one direction in two runs or more.

    Attributes:
        direction: Such as ``name → picture``.
        metric: Its name.
        values: Of each run; None where it has none.
        changes: Of each run after the first: its value less the first's.
        intervals: Of the changes, 95 %; None where rows cannot be paired.
        p_values: That there is no difference, corrected by Holm's method over the table; None likewise.
        better: Of each run after the first: whether it is significantly better (True) or worse (False), else None.
    """

    direction: str
    metric: str
    values: list[float | None]
    changes: list[float | None]
    intervals: list[tuple[float, float] | None]
    p_values: list[float | None]
    better: list[bool | None]


def read_evaluation(run: str | Path, split: str = "test") -> Evaluation:
    """The scores of a run, and its cells.

    Raises:
        CheckpointError: The run was not evaluated, or not all of it is there.
    """
    folder = Path(run) / "evaluation"
    try:
        document = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))
        kept = json.loads((folder / f"{split}.cells.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CheckpointError(f"{run}: has no scores of its {split} rows; run polymodal evaluate {run}") from None
    cells = {}
    for direction, key in kept.items():
        cell = DirectionResult.load(folder / "cells" / f"{key}.json")
        if cell is not None:
            cells[direction] = cell
    try:
        scores = [Score(**(entry | {"inputs": tuple(entry["inputs"]), "seconds": 0.0})) for entry in document["scores"]]
    except TypeError:
        raise CheckpointError(f"{run}: its scores are of another version; run polymodal evaluate {run}") from None
    return Evaluation(Path(run).name, scores, document["facts"], cells)


def compare(evaluations: Sequence[Evaluation], *, seed: int = 0) -> tuple[list[Difference], list[str]]:
    """Every score that the first run has, beside the others', and what a reader should know.

    Rows are paired where the runs were scored on the same rows by the same judge; set-level metrics have no rows.

    Args:
        evaluations: Two or more; the first is what the others are compared with.
        seed: Of the bootstrap.

    Raises:
        ConfigError: There are fewer than two, or the first shares no score with another.
    """
    if len(evaluations) < 2:
        raise ConfigError("compare: give two runs or more")
    first, *others = evaluations
    notes = _notes(evaluations)
    pairable = [_judge(other) == _judge(first) and other.facts["data"] == first.facts["data"] for other in others]
    tables = [{(score.direction, score.metric): score for score in own.scores} for own in evaluations]
    found = []
    for key, score in tables[0].items():
        values: list[float | None] = [table[key].value if key in table else None for table in tables]
        if all(value is None for value in values[1:]):
            continue
        changes = [None if value is None else value - score.value for value in values[1:]]
        tests = [
            _test(first.cells.get(key[0]), other.cells.get(key[0]), key[1], seed) if same else None
            for other, same in zip(others, pairable, strict=True)
        ]
        found.append((key, score, values, changes, tests))
    if not found:
        raise ConfigError("compare: the runs share no score; evaluate them in the same directions")
    corrected = iter(holm(np.array([test[2] for entry in found for test in entry[4] if test] or [1.0])).tolist())
    differences = []
    for key, score, values, changes, tests in found:
        p_values = [next(corrected) if test else None for test in tests]
        better = [
            None if p is None or p >= LEVEL or value is None else _better(score, value)
            for p, value in zip(p_values, values[1:], strict=True)
        ]
        intervals = [(test[0], test[1]) if test else None for test in tests]
        differences.append(Difference(*key, values, changes, intervals, p_values, better))
    return differences, notes


def _better(first: Score, value: float) -> bool | None:
    """Whether a value is better than the first run's; None where that cannot be said."""
    if value == first.value or (first.higher_is_better is None and first.ceiling is None):
        return None
    if first.higher_is_better is None:
        assert first.ceiling is not None
        return abs(value - first.ceiling) < abs(first.value - first.ceiling)
    return (value > first.value) == first.higher_is_better


def _judge(evaluation: Evaluation) -> str | None:
    judge = evaluation.facts.get("judge")
    return judge["hash"] if judge else None


def _notes(evaluations: Sequence[Evaluation]) -> list[str]:
    notes = []
    for what, of in (("data", lambda e: e.facts["data"]), ("judge", _judge), ("seed", lambda e: e.facts["seed"])):
        if len({of(evaluation) for evaluation in evaluations}) > 1:
            warning = "; compare with care" if what == "seed" else "; their scores are not those of the same thing"
            notes.append(f"The runs were scored with different {what}{warning}.")
    return notes


def _test(
    first: DirectionResult | None, second: DirectionResult | None, metric: str, seed: int
) -> tuple[float, float, float] | None:
    """Interval and p of a metric whose rows can be paired."""
    if first is None or second is None or first.rows != second.rows:
        return None
    pair = []
    for cell in (first, second):
        own = next((outcome for outcome in cell.outcomes if outcome.metric == metric), None)
        if own is None or own.whole is not None:
            return None
        weights = np.ones(len(own.values)) if own.weights is None else own.weights
        pair.append((own.rows, own.values, weights))
    (rows, *one), (other_rows, *two) = pair
    if not np.array_equal(rows, other_rows):
        return None
    _, low, high, p = paired_bootstrap((one[0], one[1]), (two[0], two[1]), seed=seed)
    return low, high, p


def comparison_table(names: Sequence[str], differences: Sequence[Difference]) -> Table:
    """For the terminal: green is significantly better than the first run, red worse."""
    table = Table(box=None, pad_edge=False)
    for name in ("direction", "metric"):
        table.add_column(name, overflow="fold")
    table.add_column(names[0], justify="right")
    for name in names[1:]:
        table.add_column(name, justify="right")
        table.add_column("p", justify="right")
    for row in differences:
        cells = [number(row.values[0])]
        for value, p, better in zip(row.values[1:], row.p_values, row.better, strict=True):
            colour = {True: "green", False: "red", None: ""}[better]
            cells += [f"[{colour}]{number(value)}[/]" if colour else number(value), number(p)]
        table.add_row(row.direction, row.metric, *cells)
    return table
