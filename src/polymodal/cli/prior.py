"""``polymodal prior``."""

from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "prior",
        run,
        summary="Fit the prior of a joint latent to a trained run.",
        details="Runs that fuse by `poe` generate from one latent vector. Where nothing is given it is drawn from a\n"
        "prior: the standard normal, as in training, or one that is fitted to the latents of the training rows, so\n"
        "that the fields which are generated from nothing agree. The run stays as it is; the output is a model with\n"
        "the prior, which `generate`, `fill` and `evaluate` take as they take a run.",
        examples="""
polymodal prior runs/mopoe --kind mixture
polymodal generate runs/mopoe/prior-mixture --to picture caption speech -n 8 -o out
""",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of a run")
    kinds = ("standard", "mixture", "flow")
    parser.add_argument("--kind", choices=kinds, default="mixture", help="default: mixture, of Gaussians")
    parser.add_argument("--components", type=int, help="of a mixture (default: one for every 50 rows)")
    parser.add_argument("--steps", type=int, default=2000, help="of a flow's training (default: 2000)")
    parser.add_argument("--rows", type=int, default=10_000, help="most rows that it is fitted to (default: 10000)")
    parser.add_argument("--data", metavar="SOURCE", help="in place of the data that the run was trained on")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, help="where the model goes (default: RUN/prior-KIND)"
    )


def run(args: Any) -> None:
    """Fits, writes the model, and says how likely held-out latents are."""
    from polymodal.api import open_run

    model = open_run(args.folder)
    rows = model.data(args.data).train if args.data else None
    options = {"components": args.components, "steps": args.steps, "limit": args.rows, "seed": args.seed}
    fitted = model.fit_prior(rows, kind=args.kind, **options)
    folder = model.save_pretrained(args.output or args.folder / f"prior-{args.kind}")
    print(
        f"{folder}: log-likelihood of held-out latents {fitted.log_likelihood:.2f} nats "
        f"(standard normal: {fitted.standard:.2f}), fitted to {fitted.rows:,} rows"
    )
