"""``polymodal package``."""

from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "package",
        run,
        summary="Pack a run, with a model card, into a folder that can travel.",
        details="The folder holds safetensors and JSON, nothing that only training needs, and a README.md for the hub\n"
        "of Hugging Face: data and licences, the scores of every direction with their intervals, beside chance\n"
        "and real values, the faults that were found, the privacy audit, how to use it, and its limits. Run\n"
        "`polymodal evaluate` and `polymodal audit` before: the card says what was not measured. With --push the\n"
        "folder is put on the hub, as whoever has logged in there (hf auth login).",
        examples="""
polymodal package runs/mine -o packages/mine --license apache-2.0
polymodal package runs/mine -o packages/mine --data-name "birds of our garden" --data-license CC-BY-4.0
polymodal package runs/mine -o packages/mine --push owner/mine --private
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="the folder of the run")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="the folder to write")
    parser.add_argument("--name", help="title of the card (default: the name of the run's folder)")
    parser.add_argument("--license", metavar="ID", help="licence of the weights, as the hub names it: apache-2.0, ...")
    parser.add_argument("--data-license", metavar="TEXT", help="licence of the data")
    parser.add_argument(
        "--data-name", metavar="TEXT", help="what the card calls data that are neither built in nor public"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older package")
    parser.add_argument("--push", metavar="OWNER/NAME", help="put the package on the hub as well")
    parser.add_argument("--private", action="store_true", help="what is made on the hub is seen by its owner alone")


def run(args: Any) -> None:
    """Packs, and prints where."""
    from polymodal.api import open_run
    from polymodal.errors import ConfigError
    from polymodal.packaging import is_hub_name, upload

    if args.push and not is_hub_name(args.push):
        raise ConfigError(f"--push {args.push}: is no name on the hub; owner/name is")
    name = args.name or (args.push or "").rpartition("/")[2]
    folder = open_run(args.folder, device="cpu").package(
        args.output, overwrite=args.overwrite, name=name, licence=args.license, data_licence=args.data_license,
        data_name=args.data_name,
    )  # fmt: skip
    print(folder)
    if args.push:
        print(upload(folder, args.push, private=args.private))
