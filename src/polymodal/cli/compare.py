"""``polymodal compare``."""

from pathlib import Path
from typing import Any

from polymodal.cli.output import console
from polymodal.cli.parser import Commands, add_command


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "compare",
        run,
        summary="Compare evaluated runs, and show which differences are significant.",
        details="Rows are paired and resampled (paired bootstrap); p-values are corrected for the number of\n"
        "comparisons (Holm). Evaluate the runs first, on the same data and with the same judge:\n"
        "`polymodal evaluate RUN --judge FOLDER`.",
        examples="""
polymodal compare runs/first runs/second
polymodal compare runs/* --report comparison.html
""",
    )
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders; all are compared with the first")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="the evaluated rows")
    parser.add_argument("--seed", type=int, default=0, help="the random seed of the resampling")
    parser.add_argument("--report", metavar="FILE", type=Path, help="write the comparison to an HTML page")


def run(args: Any) -> None:
    """Prints the table."""

    from polymodal.evaluation.report import write_comparison
    from polymodal.evaluation.scorecard import compare, comparison_table, read_evaluation

    evaluations = [read_evaluation(folder, args.split) for folder in args.runs]
    differences, notes = compare(evaluations, seed=args.seed)
    for note in notes:
        print(note)
    names = [evaluation.name for evaluation in evaluations]
    console().print(comparison_table(names, differences))
    if args.report:
        print(write_comparison(evaluations, differences, args.report, notes=notes))
