"""``polymodal quantise``."""

from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command
from polymodal.cli.scoring import add_scoring, print_scores


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "quantise",
        run,
        summary="Pack a run with its weights in 8 bits, a quarter of the size, and score it before and after.",
        details="Each matrix gets one scale for each output; biases, norms and small weights stay in 32 bits. The\n"
        "folder opens like any package: weights become floats when they are read, so that it saves disk and network,\n"
        "not memory. The sizes, and what both models score on validation rows, are printed.",
        examples="polymodal quantise runs/mine -o packages/mine-int8 --rows 200",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="the folder of the run")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an older package")
    add_scoring(parser)


def run(args: Any) -> None:
    """Packs, and prints sizes and scores."""
    from polymodal.api import open_run
    from polymodal.checkpoint import weights_of

    before = open_run(args.folder, device="cpu")
    folder = before.package(args.output, overwrite=args.overwrite, int8=True)
    size = sum(weight.nbytes for weight in weights_of(before.model).values())
    print(f"{folder}: {(folder / 'model.safetensors').stat().st_size:,} bytes of weights, before {size:,}")
    print_scores({"before": before, "after": open_run(folder, device="cpu")}, args)
