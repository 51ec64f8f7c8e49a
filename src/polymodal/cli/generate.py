"""``polymodal generate``."""

import json
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, Parser, add_command, add_device
from polymodal.errors import ConfigError, printable
from polymodal.files import atomic_file, file_name, read_json, write_file


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command, with one option for each field of the run that ``arguments`` name."""
    parser = add_command(
        commands,
        "generate",
        run,
        summary="Generate fields from other fields, or from nothing.",
        details="Each field of the run is an option, whose value is a text, a class name, numbers such as 80,60,75,\n"
        "or the path of a picture or sound. @FILE reads a text from a file, @@friend is the text @friend, - reads\n"
        "standard input, and '\\-' is the text -; write --name=-5 for a text that begins with a dash. Several outputs\n"
        "are generated one after another, each given those before it, so that they agree, and listed in\n"
        "FOLDER/generated.jsonl.\n"
        "`polymodal generate RUN --help` lists the fields of a run.",
        examples="""
polymodal generate runs/mine --name "red apple" --to picture speech -n 4 -o out
polymodal generate runs/mine --picture apple.png --to name
polymodal generate runs/mine --to picture name -n 16 -o out --option picture.steps=10
""",
    )
    parser.add_argument("folder", metavar="RUN", help="the folder of the run")
    parser.add_argument("--to", metavar="FIELD", nargs="+", required=True, help="the fields to generate")
    parser.add_argument("-n", type=int, default=1, metavar="COUNT", help="the number of samples")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, default=Path("out"), help="where to write")
    parser.add_argument("--seed", type=int, default=0, help="random seed; sample k of a seed is always the same")
    add_options(parser)
    add_device(parser)
    add_fields(parser, arguments)


def run(args: Any) -> None:
    """Generates, writes files and prints their paths, and a table of them if several fields were asked for."""
    from polymodal.api import open_run
    from polymodal.generation import stream

    model = open_run(args.folder, device=args.device)
    options = head_options(args.option)
    given = given_values(args, model)
    chunks = stream(model.model, given, args.to, n=args.n, seed=args.seed, options=options)
    rows = _written_rows(chunks, model.fields, args.output)
    if len(args.to) == 1:
        deque(rows, maxlen=0)  # a single output has no table
    else:
        table = args.output / "generated.jsonl"
        with atomic_file(table) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        print(table)
    for name, familiarity in model.familiarity(given, learn=False).items():
        if familiarity.unfamiliar:
            print(f"note: {printable(familiarity.sentence(name))}", file=sys.stderr)


def _written_rows(
    chunks: Iterable[Mapping[str, Sequence[Any]]], fields: Mapping[str, Any], folder: Path
) -> Iterator[dict[str, Any]]:
    """Writes what was generated, file by file as it comes, and prints the paths; gives the rows of a table of it."""
    done = 0
    for made in chunks:
        rows: list[dict[str, Any]] = [{} for _ in next(iter(made.values()))]
        for name, things in made.items():
            modality = fields[name]
            for number, thing in enumerate(things):
                path = folder / f"{file_name(name)}-{done + number}{modality.suffix}"
                print(write_value(modality, thing, path))
                rows[number][name] = modality.cell(thing) if modality.inline else path.name
        done += len(rows)
        yield from rows


def add_options(parser: Parser) -> None:
    """Adds ``--option``, for the sampling options of heads."""
    parser.add_argument(
        "--option",
        metavar="FIELD.NAME=VALUE",
        action="append",
        default=[],
        help="a sampling option of a field's head, such as picture.steps=10, picture.guidance=3 or "
        "name.temperature=0.7; may be repeated",
    )


def head_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Sampling options by field, from what was typed for ``--option``.

    Raises:
        ConfigError: One is not of the right form.
    """
    from polymodal.yaml_text import parse_override

    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, value = parse_override(text, "--option", "picture.steps=10")
        field, _, option = key.rpartition(".")
        if not field:
            raise ConfigError(f"--option {text}: names no field; write picture.{key}=... for the field picture")
        options.setdefault(field, {})[option] = value
    return options


def add_fields(parser: Parser, arguments: list[str]) -> None:
    """Adds one option for each field of the run that ``arguments`` name, and ``--given`` for all of them."""
    parser.add_argument(
        "--given", metavar="FIELD=VALUE", action="append", default=[], help="as --FIELD VALUE, for any field"
    )
    group = parser.add_argument_group("fields of the run")
    own = parser.prog.split()[-1:] == arguments[:1]
    for name, modality in _fields(arguments).items() if own else ():
        if f"--{name}" not in parser._option_string_actions:  # a field called `to` is given by --given
            group.add_argument(f"--{name}", dest=f"field {name}", metavar=modality.upper(), help=f"given: {modality}")


def given_values(args: Any, model: Any) -> dict[str, Any]:
    """Raw values by field, from the options that ``add_fields`` added.

    Raises:
        ConfigError: One is not of the right form, or names a file that is not there.
    """
    given = {name.removeprefix("field "): value for name, value in vars(args).items() if name.startswith("field ")}
    given = {name: value for name, value in given.items() if value is not None}
    for text in args.given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--given {text}: is not of the form FIELD=VALUE")
        given[name] = value
    raws = {name: raw_value(value, model.fields[name]) for name, value in given.items() if name in model.fields}
    return given | raws


def raw_value(text: str, modality: Any) -> Any:
    """What was typed for a field -> a raw value: ``-``, ``@file`` and, where no text is meant, a path are read.

    ``\\-`` is the text ``-``, and ``@@`` begins a text with ``@``.
    """
    if text == "-":
        return sys.stdin.buffer.read()
    if not modality.inline:
        return Path(text)
    if re.fullmatch(r"\\+-", text):
        return text[1:]
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@"):
        path = Path(text[1:])
        if not path.is_file():
            raise ConfigError(
                f"{text}: there is no file {path}; a text that begins with @ is written with two: @{text}"
            )
        return path
    return text


def write_value(modality: Any, thing: Any, path: Path) -> str:
    """Writes one generated object to a file; gives the line that tells of it."""
    write_file(path, modality.encode(thing))
    return f"{path}: {written(modality.cell(thing))}" if modality.inline else str(path)


def written(cell: Any) -> str:
    """A cell of a table in a line of text; numbers with the digits that matter."""
    if isinstance(cell, list) and not any(isinstance(part, list) for part in cell):
        return " ".join(map(written, cell))
    return f"{cell:.7g}" if isinstance(cell, float) else printable(str(cell))


def _fields(arguments: list[str]) -> dict[str, str]:
    """Modalities of the fields of the run that is named, so that they are options; none if it cannot be read."""
    for word in arguments[1:]:
        for file in (Path(word) / "config.json", *sorted(Path(word).glob("checkpoints/*/config.json"))):
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                fields = read_json(file)["recipe"]["fields"]
                return {name: field["modality"] for name, field in fields.items()}
    return {}
