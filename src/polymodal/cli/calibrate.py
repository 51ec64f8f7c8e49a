"""``polymodal calibrate``."""

from pathlib import Path
from typing import Any

from polymodal.cli.output import console
from polymodal.cli.parser import Commands, add_command, add_device
from polymodal.errors import ConfigError


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "calibrate",
        run,
        summary="Learn how probable it is that a cell which a model fills is right.",
        details="Fills held-out cells whose true value is known, and learns the probability of being right from their\n"
        "likelihood, or from the agreement of several samples. Text and labels are right if they equal the row's\n"
        "value; pictures and sound, if a judge, trained on real rows first, recognises the row's name in them.\n"
        "The result is kept in RUN/calibration, where `polymodal fill --confidence` finds it.",
        examples="""
polymodal calibrate runs/mine
polymodal calibrate runs/mine --split test --cells 5000
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="the folder of the run")
    parser.add_argument("--split", choices=("validation", "test"), default="validation", help="the held-out rows")
    parser.add_argument("--data", metavar="SOURCE", help="take the rows from other data than the run was trained on")
    parser.add_argument("--cells", type=int, default=2000, help="how many times a row is drawn to fill cells of it")
    parser.add_argument("--seed", type=int, default=0, help="the random seed")
    parser.add_argument(
        "--judge-steps", metavar="STEPS", type=int, default=500, help="steps to train a judge; 0: no pictures, no sound"
    )
    add_device(parser)


def run(args: Any) -> None:
    """Calibrates, and prints how well."""
    from rich.table import Table

    from polymodal.api import open_run

    for name, least in (("cells", 1), ("judge_steps", 0)):
        if getattr(args, name) < least:
            raise ConfigError(f"--{name.replace('_', '-')}: {getattr(args, name)} is not at least {least}")
    model = open_run(args.folder, device=args.device)
    data = model.data(args.data)
    training = model.trained_on() if args.data else data.train
    calibration = model.calibrate(
        data.splits[args.split], training=training, judge_steps=args.judge_steps, cells=args.cells, seed=args.seed
    )
    table = Table("field", title=f"Calibrated on {args.split} rows", title_justify="left")
    for name in ("cells", "right", "error of the raw score", "expected calibration error"):
        table.add_column(name, justify="right")
    for name, report in calibration.reports.items():
        numbers = (f"{value:.3f}" for value in (report.right, report.before, report.error))
        table.add_row(name, f"{report.cells:,}", *numbers)
    console().print(table)
    print(args.folder / "calibration")
