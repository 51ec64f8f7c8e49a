"""``polymodal data``."""

from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command
from polymodal.cli.train import read_fields


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command and its verbs."""
    data = commands.add_parser("data", help="Look at a data set: `polymodal data inspect SOURCE`.")
    parser = add_command(
        data.add_subparsers(metavar="VERB", required=True, dest="verb"),
        "inspect",
        run,
        summary="Show what is in a data set, what is missing and which rows cannot be read.",
        details="Prints the rows of each split, the fields with their sizes and lengths, and which fields occur\n"
        "together. Your files are not changed. Decoded values are cached, so that a training starts at once.",
        examples="""
polymodal data inspect rows.jsonl
polymodal data inspect pictures/ --sheet sheet.png
polymodal data inspect rows.parquet --fields fields.yaml --strict
""",
    )
    parser.add_argument("source", metavar="SOURCE", help="a source of rows, as for `polymodal train --data`")
    parser.add_argument(
        "--fields",
        metavar="FILE",
        type=Path,
        help="a YAML file of the fields, with lines such as `picture: {modality: image, size: 64, "
        "column: photo}` (default: guessed from the columns)",
    )
    parser.add_argument("--sheet", metavar="FILE", type=Path, help="write a contact sheet of sample rows, as a PNG")
    parser.add_argument("--strict", action="store_true", help="stop at the first row that cannot be read")


def run(args: Any) -> None:
    """Prints the report."""
    from rich.console import Console

    from polymodal.data import contact_sheet, infer_fields, inspect, load

    fields = read_fields(args.fields) if args.fields else infer_fields(args.source)
    data = load(args.source, fields, strict=args.strict)
    Console().print(inspect(data))
    if args.sheet:
        print(contact_sheet(data, args.sheet))
