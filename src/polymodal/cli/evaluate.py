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
        details="Generates each field from each other field alone, and scores it against the real one. What pictures\n"
        "and sound show is named by a judge, which is trained on the real training rows first, once a run. The\n"
        "scores go to RUN/evaluation as JSON, and as one HTML page with samples.",
        examples="""
polymodal evaluate runs/mine
polymodal evaluate runs/mine --split validation --rows 50 --report report.html
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of a run")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
    parser.add_argument("--data", metavar="SOURCE", help="other data than the run was trained on")
    parser.add_argument("--rows", type=int, default=200, help="most rows of a direction (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--judge-steps",
        metavar="STEPS",
        type=int,
        default=500,
        help="of the judge's training; 0: no judge (default: 500)",
    )
    parser.add_argument("--report", metavar="FILE", type=Path, help="where the page goes (default: in RUN/evaluation)")


def run(args: Any) -> None:
    """Evaluates, prints the scores and writes them."""
    from rich.console import Console
    from rich.progress import Progress

    from polymodal.api import open_run
    from polymodal.evaluation import write_report

    model = open_run(args.folder)
    data = model.data(args.data)
    rows = data.splits[args.split]
    if not len(rows):
        raise ConfigError(f"--split {args.split}: there are no such rows; {_counts(data.splits)}")
    if args.rows < 1:
        raise ConfigError(f"--rows: {args.rows} is not at least 1")
    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
        line = bar.add_task("Training the judge" if args.judge_steps else "Scoring")

        def show(place: int, count: int, name: str) -> None:
            bar.update(line, completed=place, total=count, description=name)

        scorecard = model.evaluate(
            rows, training=data.train, judge_steps=args.judge_steps, n_rows=args.rows, seed=args.seed,
            title=args.split, progress=show,
        )  # fmt: skip
    folder = args.folder / "evaluation"
    folder.mkdir(exist_ok=True)
    scores = folder / f"{args.split}.json"
    scorecard.to_json(scores)
    Console().print(scorecard.table())
    print(scores)
    print(write_report(scorecard, args.report or folder / f"{args.split}.html"))


def _counts(splits: Any) -> str:
    return ", ".join(f"{name} has {len(rows)}" for name, rows in splits.items())
