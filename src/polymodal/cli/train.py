"""``polymodal train``."""

import os
import shlex
from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command, add_device
from polymodal.errors import ConfigError


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "train",
        run,
        summary="Train a model on your data.",
        details="Everything is written to one folder, the run. You can stop the command at any time: Ctrl-C, SIGTERM\n"
        "and SIGHUP finish the step in work and save it (a second one stops at once), and the same command continues.\n"
        "So does one with more minutes or steps when the run is finished. Cells that cannot be read are missing, and\n"
        "counted. The fields are those of the recipe if it names any, else those of the data set if it is built in,\n"
        "else they are guessed from the columns: `polymodal data inspect SOURCE` shows the guess, and\n"
        "--set fields.sound.max_seconds=10 corrects it.",
        examples="""
polymodal train any-to-any --data rows.jsonl --minutes 10 -o runs/mine
polymodal train any-to-any --data rows.csv --minutes 10 --set fields.sku.modality=label -o runs/mine
polymodal train my-recipe.yaml --data rows.parquet --steps 2000 --batch-size 32 --size tiny -o runs/mine
torchrun --nproc_per_node 2 -m polymodal train any-to-any --data rows.jsonl -o runs/mine
polymodal train any-to-any --data /shared/rows.parquet --engine ray --workers 8 -o /shared/runs/mine
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
    parser.add_argument("--minutes", type=float, help="time to train for (default: the recipe's, else 10)")
    parser.add_argument("--steps", type=int, help="steps to train for, in place of minutes")
    parser.add_argument("--batch-size", metavar="ROWS", type=int, help="rows of one step")
    parser.add_argument("--size", help="of the model: tiny, small, base or large")
    add_device(parser)
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change any key of the recipe, such as width=256, or of a guessed field, such as "
        "fields.sound.max_seconds=10 (fields.sound=null leaves it out); may be repeated",
    )
    parser.add_argument("-o", "--output", metavar="RUN", required=True, type=Path, help="the folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="delete the run that is in the folder, and start anew")
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where it runs: here, or on a Ray cluster, which goes on by itself when a machine is lost (extra 'scale')",
    )
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="processes on the Ray cluster (default: 1)")
    parser.add_argument("--address", help="of the Ray cluster (default: RAY_ADDRESS, else this machine alone)")
    parser.add_argument("--strict", action="store_true", help="stop at the first row that cannot be read")


def run(args: Any) -> None:
    """Trains, and prints what can be done next."""
    from polymodal.api import Generator
    from polymodal.device import choose_device
    from polymodal.preparation import describe_data, everyday_settings, prepare
    from polymodal.training import stages
    from polymodal.yaml_text import parse_override

    overrides: dict[str, Any] = {"fields": read_fields(args.fields)} if args.fields else {}
    overrides |= dict(parse_override(text) for text in args.set)
    settings = everyday_settings(
        overrides, minutes=args.minutes, steps=args.steps, batch_size=args.batch_size, size=args.size
    )
    if args.engine == "ray":
        from polymodal.cluster import train_on_ray

        told = train_on_ray(
            args.recipe, args.data, settings, args.output, workers=args.workers, address=args.address,
            overwrite=args.overwrite, strict=args.strict,
        )  # fmt: skip
        print("\n".join([*told, f"{args.output} is trained"]))
        return
    device = choose_device(args.device)
    recipe, data = prepare(args.recipe, args.data, settings, strict=args.strict)
    first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun, one speaks
    if first:
        print("\n".join(describe_data(data)), flush=True)
    model = Generator(stages.fit(recipe, data, args.output, overwrite=args.overwrite, device=device), args.output)
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
    from polymodal.yaml_text import parse_yaml

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
