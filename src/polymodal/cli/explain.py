"""``polymodal explain``."""

from pathlib import Path
from typing import Any

from polymodal.cli.generate import add_fields, given_values
from polymodal.cli.parser import Commands, add_command


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command, with one option for each field of the run that ``arguments`` name."""
    parser = add_command(
        commands,
        "explain",
        run,
        summary="Show which input made an output, and which part of it.",
        details="Shapley values of the fields that are given, over all their subsets; integrated gradients over their\n"
        "words, patches and time, and the head's attention to these, drawn on them, in one HTML page. Each field of\n"
        "the run is an option, as of `polymodal generate`; the output is that command's first sample of that seed.",
        examples="""
polymodal explain runs/mine --name "red apple" --to picture -o explain.html
polymodal explain runs/mine --name "red apple" --speech apple.wav --to picture --seed 3
""",
    )
    parser.add_argument("folder", metavar="RUN", help="folder of a run")
    parser.add_argument("--to", metavar="FIELD", required=True, help="field to generate")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("explain.html"), help="default: explain.html"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--draws", type=int, default=4, help="noises that are averaged over (default: 4)")
    parser.add_argument("--steps", type=int, default=128, help="of the gradients' path (default: 128)")
    add_fields(parser, arguments)


def run(args: Any) -> None:
    """Explains, prints the shares and writes the page."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from polymodal.api import open_run
    from polymodal.evaluation.explanation.page import write_explanation

    model = open_run(args.folder)
    explanation = model.explain(given_values(args, model), args.to, seed=args.seed, draws=args.draws, steps=args.steps)
    table = Table("given", title=f"What made {escape(args.to)}", title_justify="left")
    table.add_column(f"Shapley value, {explanation.unit}", justify="right")
    table.add_column("gradients", justify="right")
    table.add_column("attention", justify="right")
    for name, share in explanation.shapley.items():
        part = explanation.parts.get(name)
        looks = explanation.attention.get(name)
        table.add_row(
            escape(name),
            f"{share:+.3f}",
            "–" if part is None else f"{float(part.sum()):+.3f}",
            "–" if looks is None else f"{float(looks.sum()):.3f}",
        )
    Console().print(table)
    print(write_explanation(model.model, explanation, args.output))
