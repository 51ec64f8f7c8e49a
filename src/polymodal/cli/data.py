"""``polymodal data``."""

from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command
from polymodal.cli.train import read_fields


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command and its verbs."""
    data = commands.add_parser("data", help="Look at data: `polymodal data inspect SOURCE`.")
    parser = add_command(
        data.add_subparsers(metavar="VERB", required=True, dest="verb"),
        "inspect",
        run,
        summary="Show what a data set holds, what it lacks and which rows cannot be read.",
        details="Prints rows by split, fields with sizes and lengths, and which fields occur together. Nothing of\n"
        "yours is changed; what is decoded is cached, so that training starts at once.",
        examples="""
polymodal data inspect rows.jsonl
polymodal data inspect pictures/ --sheet sheet.png
polymodal data inspect rows.parquet --fields fields.yaml --strict
""",
    )
    parser.add_argument("source", metavar="SOURCE", help="as `polymodal train --data` takes it")
    parser.add_argument("--fields", metavar="FILE", type=Path, help="YAML of the fields; guessed if not given")
    parser.add_argument("--sheet", metavar="FILE", type=Path, help="write a contact sheet, a PNG")
    parser.add_argument("--strict", action="store_true", help="fail at the first row that cannot be read")


def run(args: Any) -> None:
    """Prints the report."""
    from rich.console import Console

    from polymodal.data import contact_sheet, infer_fields, inspect, load

    fields = read_fields(args.fields) if args.fields else infer_fields(args.source)
    data = load(args.source, fields, strict=args.strict)
    Console().print(inspect(data))
    if args.sheet:
        print(contact_sheet(data, args.sheet))
