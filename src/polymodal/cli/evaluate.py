"""``polymodal evaluate``."""

from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command
from polymodal.errors import ConfigError


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "evaluate",
        run,
        summary="Score a model on rows that it was not trained on.",
        details="Generates each field from each other field alone, and scores it against the real one. The scores are\n"
        "written to RUN/evaluation as JSON, and as one HTML page with the samples.",
        examples="""
polymodal evaluate runs/mine
polymodal evaluate runs/mine --split validation --limit 200 --report report.html
""",
    )
    parser.add_argument("folder", metavar="RUN", help="folder of a run")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
    parser.add_argument("--data", metavar="SOURCE", help="other data than the run was trained on")
    parser.add_argument("--limit", metavar="ROWS", type=int, help="score so many rows, spread evenly")
    parser.add_argument("--report", metavar="FILE", type=Path, help="where the page goes (default: in the run)")


def run(args: Any) -> None:
    """Evaluates, and prints the scores."""
    import numpy as np
    from rich.console import Console

    from polymodal.api import open_run

    model = open_run(args.folder)
    data = model.data(args.data)
    rows = data.splits[args.split]
    if not len(rows):
        raise ConfigError(f"--split {args.split}: there are no such rows; {_counts(data.splits)}")
    if args.limit and args.limit < len(rows):
        rows = rows.select(np.linspace(0, len(rows) - 1, args.limit).astype(np.int64))
    scorecard = model.evaluate(rows)
    folder = Path(args.folder) / "evaluation"
    folder.mkdir(exist_ok=True)
    Console().print(scorecard)


def _counts(splits: Any) -> str:
    return ", ".join(f"{name} has {len(rows)}" for name, rows in splits.items())
