"""``polymodal audit``."""

from pathlib import Path
from typing import Any

from polymodal.cli.output import console
from polymodal.cli.parser import Commands, add_command, add_device
from polymodal.errors import ConfigError


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "audit",
        run,
        summary="Measure what a model gives away about its training rows.",
        details="Two attacks are run. Membership inference asks, for each field, how well the model's loss separates\n"
        "training rows from held-out rows, by itself and compared with a reference. Leakage asks, for each pair of\n"
        "fields, whether generating one from the other gives back the value of that very row, or of another training\n"
        "row. The figures are written to RUN/evaluation/privacy.json, and as a page to privacy.html.",
        examples="""
polymodal audit runs/mine
polymodal audit runs/mine --rows 1000 --reference runs/of-other-rows
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="the folder of the run")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="held-out rows")
    parser.add_argument("--data", metavar="SOURCE", help="take the rows from other data than the run was trained on")
    parser.add_argument("--rows", type=int, default=200, help="the largest number of rows of either kind")
    parser.add_argument("--draws", type=int, default=4, help="noise draws to average a loss over")
    parser.add_argument("--seed", type=int, default=0, help="the random seed")
    parser.add_argument("--reference", metavar="RUN", help="a run with the same fields that learned from other rows")
    add_device(parser)


def run(args: Any) -> None:
    """Attacks, prints the tables and writes them."""

    from polymodal.api import open_run

    for name in ("rows", "draws"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name}: {getattr(args, name)} is not at least 1")
    model = open_run(args.folder, device=args.device)
    data = model.data(args.data)
    reference = open_run(args.reference, device=args.device) if args.reference else None
    audit = model.audit(
        data.train, data.splits[args.split], reference=reference,
        n_rows=args.rows, draws=args.draws, seed=args.seed,
    )  # fmt: skip
    for table in audit.tables():
        console().print(table)
    folder = args.folder / "evaluation"
    print(audit.save(folder / "privacy.json"))
    print(audit.write_page(folder / "privacy.html"))
