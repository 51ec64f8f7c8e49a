"""``polymodal search``."""

from pathlib import Path
from typing import Any

from polymodal.cli.generate import add_fields, given_values, write_value, written
from polymodal.cli.output import console
from polymodal.cli.parser import Commands, add_command, add_device
from polymodal.errors import printable
from polymodal.files import file_name

_WIDTH = 10_000
"""Letters of a line where there is no terminal, so that no path is broken."""


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command, with one option for each field of the run that ``arguments`` name."""
    parser = add_command(
        commands,
        "search",
        run,
        summary="Find the real values that are nearest to given ones.",
        details="The run needs an alignment that separates rows, such as that of `any-to-any`. The embeddings of all\n"
        "rows are computed once and kept in RUN/index. The embeddings of several inputs are averaged. Each field of\n"
        "the run is an option, as for `polymodal generate`.",
        examples="""
polymodal search runs/mine --name "red apple" --to picture
polymodal search runs/mine --index test --speech apple.wav --name "red apple" --to picture -k 20 -o found
polymodal search runs/mine --index my-pictures/ --name "red apple" --to picture
polymodal search runs/mine --index embedded/ --name "red apple" --to picture
""",
    )
    parser.add_argument("folder", metavar="RUN", help="the folder of the run")
    parser.add_argument("--to", metavar="FIELD", required=True, help="the field whose values are searched")
    parser.add_argument(
        "--index",
        metavar="ROWS",
        default="data",
        help="the rows to search: `data` (all rows of the run's data), train, validation, test, a source as for "
        "`polymodal train --data`, or the folder that `polymodal embed` has written; write ./data for a folder called "
        "data",
    )
    parser.add_argument("-k", type=int, default=10, metavar="COUNT", help="the number of values to find")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, help="write the found values here, with a page")
    add_device(parser)
    add_fields(parser, arguments)


def run(args: Any) -> None:
    """Searches, prints what was found, and writes it where asked."""
    from rich.table import Table
    from rich.text import Text

    from polymodal.api import open_run

    model = open_run(args.folder, device=args.device)
    given, index = given_values(args, model), model.index(args.index)
    hits = model.search(given, args.to, index=index, k=args.k)
    table = Table(box=None, pad_edge=False)
    for name in ("rank", "similarity", "row"):
        table.add_column(name, justify="right", no_wrap=True)
    names = [name for name, modality in model.fields.items() if modality.inline or name == args.to]
    for name in names:
        table.add_column(Text(name), overflow="fold")
    paths = index.paths(args.to, hits)
    for hit, path in zip(hits, paths, strict=True):
        cells = (_cell(name, model.fields[name], hit, path) for name in names)
        table.add_row(str(hit.rank), f"{hit.similarity:.3f}", str(hit.row), *(Text(printable(cell)) for cell in cells))
    console(_WIDTH).print(table)
    if args.output:
        _write(args.output, args.to, model.fields, hits)


def _cell(name: str, modality: Any, hit: Any, path: str) -> str:
    """A value in a line of text; of a picture or sound the path of its file."""
    value = hit.fields.get(name)
    if value is None or not modality.inline:
        return path if value is not None else ""
    return written(modality.cell(value))


def _write(folder: Path, to: str, fields: Any, hits: Any) -> None:
    """One file for each value, and a page of all."""
    from polymodal.evaluation import Card, Section, write_page

    folder.mkdir(parents=True, exist_ok=True)
    for hit in hits:
        print(write_value(fields[to], hit.value, folder / f"{file_name(to)}-{hit.rank}{fields[to].suffix}"))
    cards = [
        Card(
            {n: fields[n].preview(value) for n, value in hit.fields.items() if value is not None and n != to},
            {},
            {to: fields[to].preview(hit.value)},
            remark=f"rank {hit.rank}, similarity {hit.similarity:.3f}, row {hit.row}",
        )
        for hit in hits
    ]
    print(write_page(folder / "index.html", f"Found: {to}", [Section(to, cards=cards)]))
