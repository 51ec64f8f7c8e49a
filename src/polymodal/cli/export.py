"""``polymodal export``."""

from pathlib import Path
from typing import Any

from polymodal.cli.generate import head_options
from polymodal.cli.parser import Commands, add_command


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "export",
        run,
        summary="Write one direction of a run as a file of ONNX, which needs no PyTorch.",
        details="The file draws a field from others, any of which may be left out: all of the sampling is in it,\n"
        "random numbers too, so that sample k of a seed is the one that `polymodal generate` draws, but for fields\n"
        "that it draws through others (pivots), of which the command tells. It is checked\n"
        "against PyTorch before it is written, and a direction that cannot be exported is refused with its reason.\n"
        "Beside it are put runner.py, which draws with onnxruntime and NumPy alone, and demo.html, which draws in a\n"
        "browser with onnxruntime-web, once that lies beside it (npm pack onnxruntime-web).",
        examples="""
polymodal export runs/mine --direction "name->picture" -o exported/name-to-picture.onnx
polymodal export runs/mine --direction "name+speech->picture" -o model.onnx --option picture.steps=10
python exported/runner.py exported/name-to-picture.onnx --name "red apple" -n 4 -o out
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="the folder of the run")
    parser.add_argument(
        "--direction",
        metavar="GIVEN->FIELD",
        required=True,
        help="such as name->picture, name+speech->picture, ->picture",
    )
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument("--rows", type=int, default=1, help="the number of samples that are drawn at once")
    parser.add_argument(
        "--option",
        metavar="FIELD.NAME=VALUE",
        action="append",
        default=[],
        help="a sampling option of the field's head, which becomes part of the file; may be repeated",
    )
    parser.add_argument("--alone", action="store_true", help="write neither runner.py nor demo.html beside the file")


def run(args: Any) -> None:
    """Exports, and prints what was written and how near it is."""
    from polymodal.api import open_run
    from polymodal.errors import ConfigError
    from polymodal.export import export_direction, parse_direction, write_runner

    if args.output.suffix != ".onnx":
        raise ConfigError(f"-o {args.output}: a file that ends in .onnx is right")
    model = open_run(args.folder, device="cpu").model
    given, to = parse_direction(args.direction, model)
    options = head_options(args.option)
    if others := sorted(set(options) - {to}):
        raise ConfigError(f"--option: {', '.join(others)}: is not drawn here; options of {to} are right")
    done = export_direction(model, given, to, args.output, rows=args.rows, options=options.get(to))
    print(
        f"{done.path}: {done.direction}, {done.file_bytes / 1e6:.1f} MB; {done.rows} samples differ from PyTorch's by "
        f"{done.difference:.1e} at most"
    )
    for source, pivot in (model.recipe.pivots or {}).get(to, {}).items():
        if source in given and pivot not in given:
            inputs = "+".join(given)
            print(
                f"{to}: where {source} is given, `polymodal generate` draws {pivot} first (pivots), and this file does "
                f"not; {inputs}->{pivot} with --option {pivot}.temperature=0, and {inputs}+{pivot}->{to}, do together"
            )
    if to in model.vocoders:
        print(
            f"{to}: the file draws spectrograms; what runs it makes them heard by Griffin and Lim, not by the vocoder"
        )
    if not args.alone:
        for path in write_runner(args.output):
            print(path)
