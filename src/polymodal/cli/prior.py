"""``polymodal prior``."""

from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command, add_device


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "prior",
        run,
        summary="Fit a prior to the joint latents of a trained run.",
        details="A run whose fusion is `poe` generates all fields from one latent vector. Where nothing is given, it\n"
        "is drawn from a prior: the standard normal distribution, as in training, or one that is fitted to the\n"
        "latents of the training rows, so that fields generated from nothing agree. The run is not changed;\n"
        "`generate`, `fill` and `evaluate` accept the output in place of a run.",
        examples="""
polymodal prior runs/mopoe --kind mixture
polymodal generate runs/mopoe/prior-mixture --to picture caption speech -n 8 -o out
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="the folder of the run")
    parser.add_argument("--kind", choices=("standard", "mixture", "flow"), default="mixture", help="the kind of prior")
    parser.add_argument("--components", type=int, help="components of a mixture (default: one for every 50 rows)")
    parser.add_argument("--steps", type=int, default=2000, help="steps of a flow's training")
    parser.add_argument("--rows", type=int, default=10_000, help="the largest number of rows to fit to")
    parser.add_argument("--data", metavar="SOURCE", help="fit to other data than the run was trained on")
    parser.add_argument("--seed", type=int, default=0, help="the random seed")
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, help="the model to write (default: RUN/prior-KIND)"
    )
    add_device(parser)


def run(args: Any) -> None:
    """Fits, writes the model, and prints how likely held-out latents are."""
    from polymodal.api import open_run

    model = open_run(args.folder, device=args.device)
    rows = model.data(args.data).train if args.data else None
    options = {"components": args.components, "steps": args.steps, "limit": args.rows, "seed": args.seed}
    fitted = model.fit_prior(rows, kind=args.kind, **options)
    folder = model.save_pretrained(args.output or args.folder / f"prior-{args.kind}")
    print(
        f"{folder}: log-likelihood of held-out latents {fitted.log_likelihood:.2f} nats "
        f"(standard normal: {fitted.standard:.2f}), fitted to {fitted.rows:,} rows"
    )
