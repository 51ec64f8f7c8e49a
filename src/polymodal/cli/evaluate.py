"""``polymodal evaluate``."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from polymodal.cli.bulk import add_engine, bulk_of, shard
from polymodal.cli.output import console
from polymodal.cli.parser import Commands, add_command, add_device
from polymodal.errors import ConfigError, unknown


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "evaluate",
        run,
        summary="Score a model on rows that it was not trained on.",
        details="Generates every field from others and scores it: agreement with the inputs, quality, variety,\n"
        "likelihood and nearness to training rows. A judge names what pictures and sound show; it is trained on the\n"
        "real training rows first, unless --judge gives one. Scores are written to RUN/evaluation, as JSON and as an\n"
        "HTML page with samples. You can stop it at any time: the same command continues. Of many rows, samples are\n"
        "drawn by a cluster of Ray with --engine ray, or by N jobs with --shard I/N; scores are the same.",
        examples="""
polymodal evaluate runs/mine
polymodal evaluate runs/mine --directions all --samples 2 --workers 2
polymodal evaluate runs/mine --split validation --rows 50 --report report.html
polymodal evaluate runs/mine --judge judges/mine
polymodal evaluate runs/mine --rows 50000 --engine ray --workers 16
polymodal evaluate runs/mine --rows 50000 --shard 3/16
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="the folder of the run")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="the rows to score")
    parser.add_argument("--data", metavar="SOURCE", help="score other data than the run was trained on")
    parser.add_argument("--rows", type=int, default=200, help="the largest number of rows for each direction")
    parser.add_argument(
        "--directions",
        choices=("single", "all"),
        default="single",
        help="generate each field from each other field alone, or from every subset of the others",
    )
    parser.add_argument("--only", metavar="FIELD", nargs="+", help="use only these fields")
    parser.add_argument("--samples", type=int, default=1, help="the number of samples for each input")
    parser.add_argument(
        "--workers",
        metavar="COUNT",
        type=int,
        help="further processes (default: none); actors of Ray (default: as many as GPUs or cores)",
    )
    add_engine(parser)
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=shard,
        help="only draw the samples of every N-th group of rows, from the I-th on, as one of N jobs; the same command "
        "without this scores them",
    )
    parser.add_argument("--judge", metavar="FOLDER", help="a judge, or an encoder from Hugging Face (folder or name)")
    parser.add_argument("--seed", type=int, default=0, help="the random seed")
    parser.add_argument(
        "--judge-steps", metavar="STEPS", type=int, default=500, help="steps of the judge's training; 0: no judge"
    )
    parser.add_argument("--quick", action="store_true", help="measure only the agreement with the inputs")
    parser.add_argument("--report", metavar="FILE", type=Path, help="the page to write (default: in RUN/evaluation)")
    add_device(parser)


def run(args: Any) -> None:
    """Evaluates, prints the scores and writes them."""
    from polymodal.api import open_run
    from polymodal.evaluation import all_directions, single_directions, write_report
    from polymodal.evaluation.report import unable_judges
    from polymodal.files import write_file

    ray = args.engine == "ray"
    model = open_run(args.folder, device=None if ray else args.device)
    data = model.data(args.data)
    rows = data.splits[args.split]
    if not len(rows):
        grouped = "; rows that share files or long texts are in one split, unless trained with --set data.group=false"
        raise ConfigError(
            f"--split {args.split}: this split has no rows; choose another ({_counts(data.splits)})"
            + grouped * bool(data.settings.get("group"))
        )
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
    bulk = bulk_of(args) if ray or args.shard else {}
    if args.shard:
        _draw(args, model, rows, directions, bulk)
        return
    # What the model may have copied, and what a judge learns from, are the rows that it was trained on.
    training = model.trained_on() if args.data else data.train
    if training is None:
        why = _why_untraced(model.model.recipe.data.source)
        print(
            f"The rows that the model was trained on are not read, as {why}.\n"
            "No copies of them are looked for, and no judge is trained; give one with --judge FOLDER.",
            file=sys.stderr,
        )
    scorecard = model.evaluate(
        rows, training=training, judge=args.judge, judge_steps=args.judge_steps, directions=directions,
        n_rows=args.rows, n_samples=args.samples, seed=args.seed, codecs=not args.quick, thorough=not args.quick,
        workers=0 if ray else args.workers or 0, title=args.split, bulk=bulk,
    )  # fmt: skip
    folder = args.folder / "evaluation"
    folder.mkdir(exist_ok=True)
    name = f"{args.split}-quick" if args.quick else args.split  # what took long to measure is not replaced
    scores = folder / f"{name}.json"
    document = json.loads(scorecard.to_json()) | {"cells": scorecard.files}  # one file: they never disagree
    write_file(scores, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    for sentence in unable_judges(scorecard):
        print(f"{sentence}\n")
    for note in scorecard.notes:
        print(note)
    console().print(scorecard.table())
    for fault in scorecard.faults:
        print(f"{fault.direction} {fault.name}: {fault.evidence}")
    print(scores)
    print(write_report(scorecard, args.report or folder / f"{name}.html", run=args.folder))


def _draw(args: Any, model: Any, rows: Any, directions: Any, bulk: dict[str, Any]) -> None:
    """Draws a share of the samples, and prints how much that is."""
    from polymodal.evaluation import draw_samples
    from polymodal.progress import Progress

    with Progress("drawing", shown=True) as bar:
        done, count = draw_samples(
            model.model, rows, args.folder / "evaluation" / "cells", bulk=bulk, run=args.folder,
            directions=directions, n_rows=args.rows, n_samples=args.samples, seed=args.seed, thorough=not args.quick,
            progress=lambda place, count, name: bar.at(place / count, name),
        )  # fmt: skip
    print(f"{done:,} of {count:,} groups are drawn, those of shard {args.shard[0]}/{args.shard[1]}")
    print("when all shards are, the same command without --shard scores them")


def _why_untraced(source: str | None) -> str:
    from polymodal.data import cache_folder, places

    if source is None:
        return "they were in memory"
    if places.is_known(source, cache_folder()):
        return f"'{source}' is no longer there, or cannot be read"
    return (
        f"'{source}', their place by what the run says, was never named on this machine; if you trust the run, name it "
        f"once: polymodal data inspect {shlex.quote(source)}"
    )


def _counts(splits: Any) -> str:
    return ", ".join(f"{name} has {len(rows)}" for name, rows in splits.items())
