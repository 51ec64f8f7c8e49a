"""``polymodal audit``."""

from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command
from polymodal.errors import ConfigError


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "audit",
        run,
        summary="Attack a model for what it gives away of its training rows.",
        details="Membership inference for each field: how well its loss tells training rows from rows that were held\n"
        "out, by itself and against a reference. Leakage for each pair of fields: whether what is generated from\n"
        "one gives back the row's own value of the other, or somebody else's. Numbers go to\n"
        "RUN/evaluation/privacy.json, and as a page to privacy.html.",
        examples="""
polymodal audit runs/mine
polymodal audit runs/mine --rows 1000 --reference runs/of-other-rows
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of a run")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="held out (default: test)")
    parser.add_argument("--data", metavar="SOURCE", help="other data than the run was trained on")
    parser.add_argument("--rows", type=int, default=200, help="most rows of either kind (default: 200)")
    parser.add_argument("--draws", type=int, default=4, help="noises that a loss is averaged over (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--reference", metavar="RUN", help="a run of the same fields that learned from other rows")


def run(args: Any) -> None:
    """Attacks, prints the tables and writes them."""
    from rich.console import Console

    from polymodal.api import open_run

    for name in ("rows", "draws"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name}: {getattr(args, name)} is not at least 1")
    model = open_run(args.folder)
    data = model.data(args.data)
    audit = model.audit(
        data.train, data.splits[args.split], reference=open_run(args.reference) if args.reference else None,
        n_rows=args.rows, draws=args.draws, seed=args.seed,
    )  # fmt: skip
    for table in audit.tables():
        Console().print(table)
    folder = args.folder / "evaluation"
    print(audit.save(folder / "privacy.json"))
    print(audit.write_page(folder / "privacy.html"))
