"""``polymodal merge``."""

from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command
from polymodal.cli.scoring import add_scoring, print_scores


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "merge",
        run,
        summary="Average the weights of several runs of one recipe into one model, and score all of them.",
        details="The runs must have the same fields and parts. It is worth it for runs that went on from one run: the\n"
        "mean of runs that started apart is of no use, which their scores show. The scores of each run and of the\n"
        "mean, on validation rows of the first, are printed; the mean is written as a package.",
        examples="""
polymodal merge runs/a runs/b -o packages/ab
polymodal merge runs/a runs/b runs/c -o packages/abc --shares 2 1 1 --rows 200
""",
    )
    parser.add_argument("folders", metavar="RUN", nargs="+", type=Path, help="the folders of the runs")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--shares", metavar="SHARE", type=float, nargs="+", help="how much each counts (default: alike)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older package")
    add_scoring(parser)


def run(args: Any) -> None:
    """Merges, writes, and prints the scores."""
    from polymodal.api import Generator, open_run
    from polymodal.packaging import merge

    pipelines = {str(folder): open_run(folder, device="cpu") for folder in args.folders}
    merged = Generator(merge([open_run(folder, device="cpu").model for folder in args.folders], args.shares))
    print(merged.package(args.output, overwrite=args.overwrite, name=args.output.name))
    print_scores({**pipelines, "mean": merged}, args)
