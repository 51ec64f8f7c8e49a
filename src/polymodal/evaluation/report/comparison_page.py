"""The page of a comparison: runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polymodal.evaluation.report.page import Comparison, Section, command_line, write_page
from polymodal.evaluation.scorecard import Difference, Evaluation


def write_comparison(
    evaluations: Sequence[Evaluation],
    differences: Sequence[Difference],
    path: str | Path,
    *,
    notes: Sequence[str] = (),
    command: str | None = None,
) -> Path:
    """Writes runs side by side as one page.

    Args:
        evaluations: Evaluations of the runs.
        differences: What ``compare`` found to differ.
        path: Path of the HTML file.
        notes: What ``compare`` has to say of the runs.
        command: That made the page; by default the command line of this process.
    """
    names = [evaluation.name for evaluation in evaluations]
    better = [sum(row.better[i] is True for row in differences) for i in range(len(names) - 1)]
    worse = [sum(row.better[i] is False for row in differences) for i in range(len(names) - 1)]
    summary = [
        f"{name} is significantly better than {names[0]} in {b} and worse in {w} of {len(differences)} scores."
        for name, b, w in zip(names[1:], better, worse, strict=True)
    ]
    section = Section("Scores", " ".join([*notes, *summary]), comparison=Comparison(names, differences))
    introduction = (
        f"Every score of {names[0]} beside those of the other runs on the same rows. p is the chance of such a "
        "difference if there were none (paired bootstrap), corrected for the number of comparisons (Holm); “–” where a "
        "metric is of the whole set, or rows could not be paired."
    )
    facts: dict[str, Any] = {"command": command or command_line()}
    for evaluation in evaluations:
        judge = evaluation.facts.get("judge")
        facts[evaluation.name] = (
            f"model {evaluation.facts.get('model', 'unknown')}, data {evaluation.facts['data']}, "
            f"judge {judge['hash'] if judge else 'none'}"
        )
    return write_page(path, "Comparison", [section], introduction=introduction, facts=facts)
