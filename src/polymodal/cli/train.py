"""``polymodal train``."""

import os
import shlex
from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command
from polymodal.errors import ConfigError


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "train",
        run,
        summary="Train a model on your data.",
        details="Everything is written to one folder, the run. You can stop the command at any time: the same command\n"
        "continues from the last checkpoint. Cells that cannot be read are missing, and counted. The fields are those\n"
        "of the recipe if it names any, else those of the data set if it is built in, else they are guessed from the\n"
        "columns (`polymodal data inspect SOURCE` shows the guess).",
        examples="""
polymodal train any-to-any --data rows.jsonl --set train.minutes=10 -o runs/mine
polymodal train my-recipe.yaml --data rows.parquet --set train.steps=2000 --set train.batch_size=32 -o runs/mine
torchrun --nproc_per_node 2 -m polymodal train any-to-any --data rows.jsonl -o runs/mine
""",
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a name that `polymodal recipes` lists, or a YAML file")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="a .jsonl, .csv or .parquet file, a folder of pictures or tar shards, hf:owner/name, or a built-in data "
        "set such as emoji (default: the recipe's data.source)",
    )
    parser.add_argument("--fields", metavar="FILE", type=Path, help="YAML file of fields that replace the recipe's")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a key of the recipe, such as train.minutes=10 or width=256; may be repeated",
    )
    parser.add_argument("-o", "--output", metavar="RUN", required=True, type=Path, help="the folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="delete the run that is in the folder, and start anew")
    parser.add_argument("--strict", action="store_true", help="stop at the first row that cannot be read")


def run(args: Any) -> None:
    """Trains, and prints what can be done next."""
    from polymodal.config import load_recipe, parse_override

    overrides = dict(parse_override(text) for text in args.set)
    if args.fields:
        overrides["fields"] = read_fields(args.fields)
    recipe = load_recipe(args.recipe, overrides)

    from polymodal.api import Generator, load_data  # after the recipe, so that its mistakes are told soon
    from polymodal.training import stages

    recipe, data = load_data(recipe, args.data, strict=args.strict)
    first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun, one speaks
    if data.rejected and first:
        print(f"{len(data.rejected)} rows are set aside; the first: {data.rejected[0]}", flush=True)
    if data.bad_cells and first:
        print(f"{len(data.bad_cells)} cells cannot be read and are missing; the first: {data.bad_cells[0]}", flush=True)
    if first:
        for note in data.notes:
            print(note, flush=True)
        rows = ", ".join(f"{len(rows):,} {name}" for name, rows in data.splits.items())
        print(f"{data.source}: {rows} rows of {', '.join(data.fields)}", flush=True)
    model = Generator(stages.fit(recipe, data, args.output, overwrite=args.overwrite), args.output)
    if first:
        given, wanted = _example(model)
        place = shlex.quote(str(args.output))
        print(f"{args.output} is trained. Look at it, use it, score it:")
        print(f"  polymodal info {place}")
        print(f"  polymodal generate {place} {given}--to {wanted} -n 4 -o out")
        print(f"  polymodal evaluate {place}")


def read_fields(path: Path) -> dict[str, Any]:
    """Fields in a YAML file, by themselves or under the key ``fields``.

    Raises:
        ConfigError: The file is not there, or holds no mapping.
    """
    from polymodal.config import parse_yaml

    if not path.is_file():
        raise ConfigError(f"fields: there is no file {path}")
    tree = parse_yaml(path, f"fields: {path}")
    tree = tree.get("fields", tree) if isinstance(tree, dict) else tree
    if not isinstance(tree, dict) or not all(isinstance(field, dict) for field in tree.values()):
        raise ConfigError(f"fields: {path} is not a mapping such as picture: {{modality: image, size: 64}}")
    return tree


def _example(model: Any) -> tuple[str, str]:
    """Arguments of `generate` that fit a model: text first, which can be typed."""
    inputs = sorted(model.inputs, key=lambda name: not model.fields[name].inline)
    for name in inputs:
        if wanted := [other for other in model.outputs if other != name]:
            option = shlex.quote(f"--{name}")
            return f"{option} {'...' if model.fields[name].inline else 'FILE'} ", shlex.quote(wanted[0])
    return "", shlex.quote(model.outputs[0])
