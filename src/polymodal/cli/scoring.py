"""Scores of a model beside those of others, on the validation rows of its run, for commands that change models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymodal.cli.output import console
from polymodal.cli.parser import Parser


def add_scoring(parser: Parser) -> None:
    """Adds ``--rows`` and ``--data``."""
    parser.add_argument("--rows", type=int, default=100, help="validation rows to score before and after; 0: none")
    parser.add_argument("--data", metavar="SOURCE", help="take the rows from other data than the run was trained on")


def print_scores(pipelines: Mapping[str, Any], args: Any) -> None:
    """Prints the agreement of what each model generates with its inputs, from each field alone, side by side.

    Args:
        pipelines: By name; the first knows where the rows are, and has a run whose judge is used if it has one.
        args: With ``rows`` and ``data``.
    """
    from rich.table import Table

    from polymodal.evaluation import Judge
    from polymodal.evaluation.scorecard import number

    if args.rows < 1:
        return
    first = next(iter(pipelines.values()))
    rows = first.data(args.data).validation
    folder = first.run / "judge" if first.run else None
    judge = Judge.load(folder) if folder and Path(folder).is_dir() else None
    options = {"n_rows": args.rows, "codecs": False, "thorough": False, "print_progress": False}
    cards = {}
    for name, pipeline in pipelines.items():
        pipeline.run = None  # what is measured here is no scorecard of the run
        cards[name] = pipeline.evaluate(rows, judge=judge, judge_steps=0, **options)
    table = Table("direction", "metric", *cards, "rows", title="Validation rows, with 95 % intervals")
    table.title_justify = "left"
    for scores in zip(*(card.scores for card in cards.values()), strict=True):
        cells = (f"{number(s.value)} ({number(s.low)}–{number(s.high)})" for s in scores)
        table.add_row(scores[0].direction, scores[0].metric, *cells, str(scores[0].rows))
    console().print(table)
