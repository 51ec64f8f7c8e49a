"""``polymodal explain``."""

from pathlib import Path
from typing import Any

from polymodal.cli.generate import add_fields, given_values
from polymodal.cli.output import console
from polymodal.cli.parser import Commands, add_command, add_device


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command, with one option for each field of the run that ``arguments`` name."""
    parser = add_command(
        commands,
        "explain",
        run,
        summary="Show which inputs, and which parts of them, an output depends on.",
        details="Computes Shapley values of the given fields, over all their subsets, and, for their words, patches\n"
        "and frames, integrated gradients and the head's attention. All are drawn on the inputs in one HTML page.\n"
        "Each field of the run is an option, as for `polymodal generate`; the output that is explained is the\n"
        "first sample that `generate` gives for the same seed.",
        examples="""
polymodal explain runs/mine --name "red apple" --to picture -o explain.html
polymodal explain runs/mine --name "red apple" --speech apple.wav --to picture --seed 3
""",
    )
    parser.add_argument("folder", metavar="RUN", help="the folder of the run")
    parser.add_argument("--to", metavar="FIELD", required=True, help="the field to generate")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("explain.html"), help="the page to write"
    )
    parser.add_argument("--seed", type=int, default=0, help="the random seed of the sample")
    parser.add_argument("--draws", type=int, default=4, help="noise draws to average over")
    parser.add_argument("--steps", type=int, default=128, help="steps of the integrated gradients")
    add_device(parser)
    add_fields(parser, arguments)


def run(args: Any) -> None:
    """Explains, prints the shares and writes the page."""
    from rich.table import Table
    from rich.text import Text

    from polymodal.api import open_run
    from polymodal.evaluation.explanation import write_explanation

    model = open_run(args.folder, device=args.device)
    explanation = model.explain(given_values(args, model), args.to, seed=args.seed, draws=args.draws, steps=args.steps)
    table = Table("given", title=Text(f"What made {args.to}"), title_justify="left")
    table.add_column(f"Shapley value, {explanation.unit}", justify="right")
    table.add_column("gradients", justify="right")
    table.add_column("attention", justify="right")
    for name, share in explanation.shapley.items():
        part = explanation.parts.get(name)
        looks = explanation.attention.get(name)
        table.add_row(
            Text(name),
            f"{share:+.3f}",
            "–" if part is None else f"{float(part.sum()):+.3f}",
            "–" if looks is None else f"{float(looks.sum()):.3f}",
        )
    console().print(table)
    print(write_explanation(model.model, explanation, args.output))
