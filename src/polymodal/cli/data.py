"""``polymodal data``."""

from pathlib import Path
from typing import Any

from polymodal.cli.output import console
from polymodal.cli.parser import Commands, add_command
from polymodal.cli.train import read_fields
from polymodal.errors import ConfigError


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command and its verbs."""
    data = commands.add_parser("data", help="Look at a data set: `polymodal data inspect SOURCE`.")
    parser = add_command(
        data.add_subparsers(metavar="VERB", required=True, dest="verb"),
        "inspect",
        run,
        summary="Show what is in a data set, what is missing and what cannot be read.",
        details="Prints the rows of each split, the fields with their sizes and lengths, and which fields occur\n"
        "together; the cells and rows that cannot be read, by reason; and the columns that are no fields. Your files\n"
        "are not changed. Decoded values are cached, so that a training starts at once.",
        examples="""
polymodal data inspect rows.jsonl
polymodal data inspect rows.csv -o fields.yaml
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
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="write the fields, as they were guessed, to a YAML file for --fields, to be corrected",
    )
    parser.add_argument("--root", metavar="FOLDER", type=Path, help="another folder that paths in cells start from")
    parser.add_argument("--follow-links", action="store_true", help="follow links that lead out of the source's folder")
    parser.add_argument("--encoding", metavar="NAME", help="of a .csv or .tsv file that is not UTF-8, such as cp1252")
    parser.add_argument("--sheet", metavar="FILE", type=Path, help="write a contact sheet of sample rows, as a PNG")
    for split in ("validation", "test"):
        parser.add_argument(
            f"--{split}", metavar="SHARE", type=float, help=f"share of the {split} rows, as data.{split}"
        )
    parser.add_argument("--strict", action="store_true", help="stop at the first cell that cannot be read")


def run(args: Any) -> None:
    """Prints the report."""
    from polymodal.data import contact_sheet, infer_fields, inspect, load
    from polymodal.data.field_files import write_fields

    if args.output and args.output.exists():
        raise ConfigError(f"{args.output}: is there already, and may have been corrected; choose another name")
    reading = {"root": args.root, "follow_links": args.follow_links, "encoding": args.encoding}
    fields = read_fields(args.fields) if args.fields else infer_fields(args.source, **reading)
    if args.output:
        write_fields(args.output, fields)
        print(f"{args.output}: the fields; correct them, and give the file as --fields")
    shares = {name: share for name in ("validation", "test") if (share := getattr(args, name)) is not None}
    data = load(args.source, fields, strict=args.strict, **shares, **reading)
    console().print(inspect(data))
    if args.sheet:
        print(contact_sheet(data, args.sheet))
