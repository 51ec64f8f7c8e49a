"""``polymodal fill``."""

from pathlib import Path
from typing import Any

from polymodal.cli.bulk import add_bulk, bulk_of, print_unread
from polymodal.cli.generate import add_options, head_options
from polymodal.cli.parser import Commands, add_command, add_device


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "fill",
        run,
        summary="Fill the missing cells of a table from the other cells of their rows.",
        details="The output has the same rows and columns in the same order, and cells that are there stay as they\n"
        "are. Labels, texts and numbers get the best guess; --draw draws them, as pictures and sound are. Parquet\n"
        "embeds pictures and sound; other tables name files in a folder beside the output. You can stop it at any\n"
        "time: the same command continues. With --confidence, a column COLUMN_confidence beside each column has the\n"
        "probability that a filled cell is right; `polymodal calibrate` shows how reliable these probabilities are.\n"
        "Many Parquet files are filled to a folder, by as many processes as are started with the same command: with\n"
        "--engine ray on a cluster of Ray, with --shard I/N as one of N jobs; each goes on with what is left.",
        examples="""
polymodal fill runs/mine table.parquet -o filled.parquet
polymodal fill runs/mine table.jsonl -o filled.jsonl --columns name picture --draw --seed 1
polymodal fill runs/mine table.csv -o filled.csv --columns name --min-confidence 0.9 --mark
polymodal fill runs/mine rows/*.parquet -o filled/ --engine ray --workers 4
""",
    )
    parser.add_argument("folder", metavar="RUN", help="the folder of the run")
    parser.add_argument(
        "table",
        metavar="TABLE",
        nargs="+",
        help="a .parquet, .jsonl, .ndjson, .csv or .tsv file; or .parquet files, folders of these or their URLs",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="the table to write; of many, the folder or its URL"
    )
    parser.add_argument("--columns", metavar="COLUMN", nargs="+", help="fill only these (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="the random seed")
    parser.add_argument("--draw", action="store_true", help="draw every cell, in place of the best guess")
    parser.add_argument("--draws", metavar="COUNT", type=int, help="draws that the best guess of numbers is made of")
    parser.add_argument("--mark", action="store_true", help="add columns COLUMN_filled that say what was filled")
    parser.add_argument("--confidence", action="store_true", help="add the columns of probabilities")
    parser.add_argument(
        "--min-confidence",
        metavar="PROBABILITY",
        type=float,
        help="leave a cell empty if the probability is less; implies --confidence",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument("--root", metavar="FOLDER", type=Path, help="another folder that paths in cells start from")
    parser.add_argument("--encoding", metavar="NAME", help="of a .csv or .tsv file that is not UTF-8, such as cp1252")
    add_bulk(parser.add_argument_group("many tables"))
    add_options(parser)
    add_device(parser)


def run(args: Any) -> None:
    """Fills, and prints what was done."""
    from polymodal.api import open_run

    given = {name: getattr(args, name) for name in ("draws", "encoding") if getattr(args, name) is not None}
    done = open_run(args.folder, device=None if args.engine == "ray" else args.device).fill(
        args.table[0] if len(args.table) == 1 else args.table,
        args.output,
        bulk=bulk_of(args),
        columns=args.columns,
        seed=args.seed,
        how="draw" if args.draw else "best",
        mark=args.mark,
        options=head_options(args.option),
        overwrite=args.overwrite,
        root=args.root,
        confidence=args.confidence,
        min_confidence=args.min_confidence,
        **given,
    )
    counts = ", ".join(f"{count:,} of {name}" for name, count in done.filled.items())
    print(f"{done.path}: {done.rows:,} rows; filled {counts or 'nothing'}")
    if done.copied:
        print(f"copied {done.copied:,} files that its cells name to {done.path.parent}")
    if any(done.unsure.values()):
        unsure = ", ".join(f"{count:,} of {name}" for name, count in done.unsure.items())
        print(f"left empty, below --min-confidence: {unsure}")
    print_unread(done)
