"""Runs side by side: the same metrics on the same rows, with the significance of their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from polymodal.errors import CheckpointError, ConfigError
from polymodal.evaluation.metrics import holm, paired_difference
from polymodal.evaluation.scorecard.direction_result import DirectionResult
from polymodal.evaluation.scorecard.scorecard import Score, number
from polymodal.files import read_json

LEVEL = 0.05
"""Probability, corrected for the number of comparisons, below which a difference is significant."""


@dataclass(frozen=True)
class Evaluation:
    """What ``polymodal evaluate`` left in a run.

    Attributes:
        name: Name of the run.
        scores: All of them.
        facts: What they depend on.
        results: Row by row, by direction.
    """

    name: str
    scores: list[Score]
    facts: Mapping[str, Any]
    results: Mapping[str, DirectionResult]


@dataclass(frozen=True)
class Difference:
    """One metric of one direction in two runs or more.

    Attributes:
        direction: Such as ``name → picture``.
        metric: Its name.
        values: The value of each run; None where it has none.
        changes: The value of each run after the first, less the first run's.
        intervals: The 95 % intervals of the changes; None where rows cannot be paired.
        p_values: Probabilities of such changes if there were no difference, corrected by Holm's method over the table;
            None where rows cannot be paired.
        better: Whether each run after the first is significantly better (True) or worse (False) than it, else None.
    """

    direction: str
    metric: str
    values: list[float | None]
    changes: list[float | None]
    intervals: list[tuple[float, float] | None]
    p_values: list[float | None]
    better: list[bool | None]


def read_evaluation(run: str | Path, split: str = "test") -> Evaluation:
    """The scores of a run and its results row by row, of earlier versions too.

    Raises:
        CheckpointError: The run was not evaluated, or its scores cannot be read.
    """
    folder = Path(run) / "evaluation"
    try:
        document = read_json(folder / f"{split}.json")
        files = document["cells"] if "cells" in document else read_json(folder / f"{split}.cells.json")
    except (OSError, ValueError, TypeError):
        raise CheckpointError(f"{run}: has no scores of its {split} rows; run polymodal evaluate {run}") from None
    try:
        scores = [Score(**(entry | {"inputs": tuple(entry["inputs"]), "seconds": 0.0})) for entry in document["scores"]]
        found = {
            name: DirectionResult.load(folder / "cells" / f"{key}.json", samples=False) for name, key in files.items()
        }
        facts = document["facts"]
    except (AttributeError, KeyError, TypeError):
        raise CheckpointError(f"{run}: its scores are of another version; run polymodal evaluate {run}") from None
    return Evaluation(Path(run).name, scores, facts, {name: result for name, result in found.items() if result})


def compare(evaluations: Sequence[Evaluation], *, seed: int = 0) -> tuple[list[Difference], list[str]]:
    """Every score of the first run beside the others', and what a reader should know.

    Rows are paired where the runs were scored on the same rows by the same judge. Metrics of a whole set have no rows.

    Args:
        evaluations: Two or more; the others are compared with the first.
        seed: Seed of the bootstrap and of the exchanges.

    Raises:
        ConfigError: There are fewer than two, or the first shares no score with another.
    """
    if len(evaluations) < 2:
        raise ConfigError("compare: give two runs or more")
    first, *others = evaluations
    notes = _notes(evaluations)
    pairable = [_judge(other) == _judge(first) and other.facts["data"] == first.facts["data"] for other in others]
    tables = [{(score.direction, score.metric): score for score in each.scores} for each in evaluations]
    found = []
    for key, score in tables[0].items():
        values: list[float | None] = [table[key].value if key in table else None for table in tables]
        if all(value is None for value in values[1:]):
            continue
        changes = [None if value is None else value - score.value for value in values[1:]]
        tests = [
            _test(first.results.get(key[0]), other.results.get(key[0]), key[1], seed) if same else None
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
    """The interval of the change and p, for a metric whose rows can be paired."""
    if first is None or second is None or first.rows != second.rows:
        return None
    pair = [
        measured
        for result in (first, second)
        for measured in result.results
        if measured.metric == metric and measured.whole is None
    ]
    if len(pair) < 2 or not np.array_equal(pair[0].rows, pair[1].rows):
        return None
    before, after = ((measured.values, measured.divisors) for measured in pair)
    _, low, high, p = paired_difference(before, after, pair[0].clusters, seed=seed)
    return low, high, p


def comparison_table(names: Sequence[str], differences: Sequence[Difference]) -> Table:
    """The differences, to be printed: green is significantly better than the first run, red worse."""
    table = Table(box=None, pad_edge=False)
    for name in ("direction", "metric"):
        table.add_column(name, overflow="fold")
    table.add_column(names[0], justify="right")
    for name in names[1:]:
        table.add_column(name, justify="right")
        table.add_column("p", justify="right")
    for row in differences:
        entries = [number(row.values[0])]
        for value, p, better in zip(row.values[1:], row.p_values, row.better, strict=True):
            colour = {True: "green", False: "red", None: ""}[better]
            entries += [f"[{colour}]{number(value)}[/]" if colour else number(value), number(p)]
        table.add_row(row.direction, row.metric, *entries)
    return table
