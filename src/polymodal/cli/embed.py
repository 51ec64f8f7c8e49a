"""``polymodal embed``."""

from pathlib import Path
from typing import Any

from polymodal.cli.bulk import add_bulk, bulk_of, print_unread
from polymodal.cli.parser import Commands, add_command, add_device


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "embed",
        run,
        summary="Embed the rows of many Parquet files, to be searched.",
        details="The run needs an alignment that separates rows, such as that of `any-to-any`. Each group of rows\n"
        "becomes a Parquet file with the number of each row and the vector of each field. As many processes as are\n"
        "started with the same command share the work: with --engine ray on a cluster of Ray, with --shard I/N as\n"
        "one of N jobs; each goes on with what is left. `polymodal search RUN --index FOLDER` searches it.",
        examples="""
polymodal embed runs/mine rows/*.parquet -o embedded/
polymodal embed runs/mine s3://bucket/rows/ -o s3://bucket/embedded/ --shard 3/16
polymodal search runs/mine --index embedded/ --name "red apple" --to picture
""",
    )
    parser.add_argument("folder", metavar="RUN", help="the folder of the run")
    parser.add_argument("table", metavar="TABLE", nargs="+", help=".parquet files, folders of these or their URLs")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="the folder to write to, or its URL")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument("--root", metavar="FOLDER", type=Path, help="another folder that paths in cells start from")
    add_bulk(parser.add_argument_group("who does it"))
    add_device(parser)


def run(args: Any) -> None:
    """Embeds, and prints what was done."""
    from polymodal.api import open_run

    model = open_run(args.folder, device=None if args.engine == "ray" else args.device)
    done = model.embed(args.table, args.output, bulk=bulk_of(args), overwrite=args.overwrite, root=args.root)
    counts = ", ".join(f"{count:,} of {name}" for name, count in done.filled.items())
    print(f"{done.path}: {done.rows:,} rows; embedded {counts}")
    print_unread(done)
