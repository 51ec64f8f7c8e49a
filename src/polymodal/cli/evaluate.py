"""``polymodal evaluate``."""

import json
from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command
from polymodal.errors import ConfigError, unknown


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "evaluate",
        run,
        summary="Score a model on rows that it was not trained on.",
        details="Generates every field from others, and scores it against the real one: agreement with the inputs,\n"
        "quality, variety, likelihood, nearness to training rows. What pictures and sound show is named by a judge,\n"
        "which is trained on the real training rows first, once a run, or given. Scores go to RUN/evaluation as\n"
        "JSON, and as one HTML page with samples. Stop it at any time: the same command goes on where it was.",
        examples="""
polymodal evaluate runs/mine
polymodal evaluate runs/mine --directions all --samples 2 --workers 2
polymodal evaluate runs/mine --split validation --rows 50 --report report.html
polymodal evaluate runs/mine --judge judges/mine
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of a run")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
    parser.add_argument("--data", metavar="SOURCE", help="other data than the run was trained on")
    parser.add_argument("--rows", type=int, default=200, help="most rows of a direction (default: 200)")
    parser.add_argument(
        "--directions",
        choices=("single", "all"),
        default="single",
        help="each field from each other alone, or from every subset of the others (default: single)",
    )
    parser.add_argument("--only", metavar="FIELD", nargs="+", help="leave all other fields out")
    parser.add_argument("--samples", type=int, default=1, help="of each input (default: 1)")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: this one (default: 0)")
    parser.add_argument("--judge", metavar="FOLDER", help="of a judge, or an encoder of Hugging Face: folder or name")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--judge-steps",
        metavar="STEPS",
        type=int,
        default=500,
        help="of the judge's training; 0: no judge (default: 500)",
    )
    parser.add_argument("--quick", action="store_true", help="measure the agreement with the inputs alone")
    parser.add_argument("--report", metavar="FILE", type=Path, help="where the page goes (default: in RUN/evaluation)")


def run(args: Any) -> None:
    """Evaluates, prints the scores and writes them."""
    from rich.console import Console
    from rich.progress import Progress

    from polymodal.api import open_run
    from polymodal.evaluation import all_directions, single_directions, write_report
    from polymodal.files import write_file

    model = open_run(args.folder)
    data = model.data(args.data)
    rows = data.splits[args.split]
    if not len(rows):
        raise ConfigError(f"--split {args.split}: there are no such rows; {_counts(data.splits)}")
    for name, least in (("rows", 1), ("samples", 1), ("judge_steps", 0)):
        if getattr(args, name) < least:
            raise ConfigError(f"--{name.replace('_', '-')}: {getattr(args, name)} is not at least {least}")
    for name in args.only or ():
        if name not in model.fields:
            raise ConfigError(unknown("--only", name, model.fields))
    kept = set(args.only or model.fields)
    directions = (
        all_directions(model.model, seed=args.seed) if args.directions == "all" else single_directions(model.model)
    )
    directions = [(given, to) for given, to in directions if {*given, to} <= kept]
    # What the model may have copied, and what a judge learns from, are the rows that it was trained on.
    training = model.trained_on() if args.data else data.train
    errors = Console(stderr=True)
    if training is None:
        errors.print("The rows that the model was trained on are not where they were: no copies of them are looked")
        errors.print("for, and no judge is trained; --judge FOLDER gives one.")
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
        line = bar.add_task("Training the judge" if args.judge_steps else "Scoring")

        def show(place: int, count: int, name: str) -> None:
            bar.update(line, completed=place, total=count, description=name)

        scorecard = model.evaluate(
            rows, training=training, judge=args.judge, judge_steps=args.judge_steps, directions=directions,
            n_rows=args.rows, n_samples=args.samples, seed=args.seed, codecs=not args.quick, thorough=not args.quick,
            workers=args.workers, title=args.split, progress=show,
        )  # fmt: skip
    folder = args.folder / "evaluation"
    folder.mkdir(exist_ok=True)
    name = f"{args.split}-quick" if args.quick else args.split  # what took long to measure is not replaced
    scores = folder / f"{name}.json"
    scorecard.to_json(scores)
    write_file(folder / f"{name}.cells.json", json.dumps(scorecard.files, indent=1) + "\n")
    Console().print(scorecard.table())
    for fault in scorecard.faults:
        print(f"{fault.direction} {fault.name}: {fault.evidence}")
    print(scores)
    print(write_report(scorecard, args.report or folder / f"{name}.html", run=args.folder))


def _counts(splits: Any) -> str:
    return ", ".join(f"{name} has {len(rows)}" for name, rows in splits.items())
