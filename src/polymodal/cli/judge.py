"""``polymodal judge``."""

from pathlib import Path
from typing import Any

from polymodal.cli.output import console
from polymodal.cli.parser import Commands, add_command
from polymodal.cli.train import read_fields
from polymodal.errors import CheckpointError, ConfigError, unknown
from polymodal.files import read_json


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command and its verbs."""
    verbs = commands.add_parser(
        "judge", help="Train a judge, which scores models: `polymodal judge train DATA -o FOLDER`."
    )
    verbs = verbs.add_subparsers(metavar="VERB", required=True, dest="verb")
    parser = add_command(
        verbs,
        "train",
        train,
        summary="Train a judge on real rows, independently of any generator.",
        details="A judge learns which values belong together, and is scored on rows that it has not seen. The same\n"
        "data, steps and seed give the same judge; every report shows its hash.",
        examples="""
polymodal judge train rows.jsonl -o judges/mine
polymodal judge train rows.jsonl --like runs/mine --steps 2000 -o judges/mine
polymodal evaluate runs/mine --judge judges/mine
""",
    )
    parser.add_argument("source", metavar="DATA", help="a source of rows, as for `polymodal train --data`")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, type=Path, help="where to write the judge")
    parser.add_argument("--fields", metavar="FILE", type=Path, help="YAML file of the fields (default: guessed)")
    parser.add_argument("--like", metavar="RUN", type=Path, help="take the fields and splits of this run")
    parser.add_argument("--naming", metavar="FIELD", help="field that names concepts (default: first text or label)")
    parser.add_argument("--steps", type=int, default=500, help="steps of the training")
    parser.add_argument("--width", type=int, default=128, help="dimensions of the judge's space")
    parser.add_argument("--batch-size", type=int, default=64, help="concepts in each step")
    parser.add_argument("--seed", type=int, default=0, help="the random seed")
    parser = add_command(
        verbs,
        "info",
        info,
        summary="Show the fields, names, settings, hash and score of a judge.",
        details="Reads only the folder of the judge; no data are needed.",
        examples="polymodal judge info judges/mine",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the folder of the judge")


def train(args: Any) -> None:
    """Trains, and prints what the judge reached."""
    from polymodal.api import open_run
    from polymodal.data import load
    from polymodal.evaluation import Judge
    from polymodal.progress import Progress

    for name in ("steps", "width"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name}: {getattr(args, name)} is not at least 1")
    if args.batch_size < 2:
        raise ConfigError(f"--batch-size: {args.batch_size} is not at least 2")
    if args.output.exists() and any(args.output.iterdir()) and not (args.output / "judge.json").is_file():
        raise CheckpointError(f"{args.output}: the folder is not empty, and no judge is in it; choose another folder")
    if args.like and args.fields:
        raise ConfigError("--like, --fields: both are given; give one of them")
    if args.like:
        data = open_run(args.like).data(args.source)
    else:
        data = load(args.source, read_fields(args.fields) if args.fields else None)
    if args.naming and args.naming not in data.fields:
        raise ConfigError(unknown("--naming", args.naming, data.fields))
    held_out = data.test if len(data.test) else data.validation
    with Progress("training the judge") as bar:
        Judge.train(
            data.train,
            held_out=held_out,
            naming=args.naming,
            steps=args.steps,
            batch_size=args.batch_size,
            width=args.width,
            seed=args.seed,
            folder=args.output,
            progress=lambda n, count: bar.at(n / count, f"step {n:,}"),
        )
    info(args, args.output)


def info(args: Any, folder: Path | None = None) -> None:
    """Prints a table."""
    from rich.table import Table

    from polymodal.evaluation import Judge

    folder = folder or args.folder
    judge = Judge.load(folder)
    table = Table(show_header=False, title=str(folder), title_justify="left")
    kept = read_json(folder / "judge.json")
    table.add_row("hash", judge.hash)
    table.add_row("format", str(kept["format"]))
    table.add_row("fields", ", ".join(f"{name} ({entry['modality']})" for name, entry in kept["fields"].items()))
    table.add_row("names", f"{len(judge.names):,} of '{judge.naming}'" if judge.naming else "none: rows are concepts")
    for name, score in judge.held_out.items():
        values = f"{score['values']:,.0f} values that it has not seen"
        table.add_row(f"names {name} right", f"{score['top_1']:.1%} of {values}, among {len(judge.names):,} names")
    if not judge.held_out:
        table.add_row("score of the judge", "none: it has learned from every held-out value")
    for name, value in judge.settings.items():
        table.add_row(name, str(value))
    console().print(table)
