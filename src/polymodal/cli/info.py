"""``polymodal info``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymodal.cli.output import console as make_console
from polymodal.cli.parser import Commands, add_command
from polymodal.errors import CheckpointError, printable


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "info",
        run,
        summary="Show the recipe, fields, sizes, progress, last scores and checkpoints of a run.",
        details="Reads only the folder of the run; neither data nor a GPU is needed.",
        examples="polymodal info runs/mine",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="the folder of the run")


def run(args: Any) -> None:
    """Prints tables."""
    from rich.table import Table

    from polymodal import checkpoint as checkpoints
    from polymodal.codecs import CODECS
    from polymodal.encoders import ENCODERS
    from polymodal.heads import HEADS
    from polymodal.vocoders import VOCODERS

    checkpoint = checkpoints.find(args.folder)
    model = checkpoint.model()
    console, recipe = make_console(), model.recipe
    facts = Table(show_header=False, title=str(args.folder), title_justify="left")
    facts.add_row("recipe", printable(recipe.description) or "(no description)")
    facts.add_row("data", printable(recipe.data.source or "given in Python"))
    if (checkpoint.path / "trainer" / "state.json").exists():
        progress = checkpoint.document("trainer/state")
        try:
            facts.add_row("steps", f"{progress['step']:,}{'' if progress['done'] else ' (not finished)'}")
            facts.add_row("minutes", f"{progress['seconds'] / 60:.1f} (the model alone)")
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"{checkpoint.path}: trainer/state.json is not that of a training") from None
    facts.add_row("parameters", f"{_count(model):,}")
    for part in ("encoders", "fusion", "heads", "codecs", "vocoders"):
        facts.add_row(f"  {part}", f"{_count(getattr(model, part)):,}")
    for to, pivots in (recipe.pivots or {}).items():
        for source, pivot in pivots.items():
            facts.add_row("pivot", f"{to} from {source} is drawn through {pivot}")
    for to, screens in (recipe.screens or {}).items():
        for source, beside in screens.items():
            facts.add_row("screen", f"{to} is drawn apart from {source} beside {' or '.join(beside)}")
    saved = sorted((args.folder / checkpoints.CHECKPOINTS).glob("step-*"))
    facts.add_row("checkpoints", ", ".join(path.name for path in saved) or "this folder")
    console.print(facts)

    families: dict[str, tuple[Mapping[str, type], Any]] = {
        "encoder": (ENCODERS, model.encoders),
        "codec": (CODECS, model.codecs),
        "head": (HEADS, model.heads),
    }
    if model.vocoders:
        families["vocoder"] = (VOCODERS, model.vocoders)
    fields = Table("field", "modality", "role", *families, "shape", title="Fields")
    fields.title_justify = "left"
    for name, modality in model.modalities.items():
        kinds = [
            next((kind for kind, part in table.items() if name in parts and type(parts[name]) is part), "")
            for table, parts in families.values()
        ]
        shape = "x".join(map(str, modality.space.shape))
        fields.add_row(name, recipe.fields[name].modality, recipe.fields[name].role, *kinds, shape)
    console.print(fields)

    scores = last_scores(args.folder / "metrics.jsonl")
    if scores:
        table = Table("score", "value", title="Last scores", title_justify="left")
        for name, value in scores.items():
            table.add_row(name, f"{value:.4g}")
        console.print(table)


def last_scores(metrics: Path) -> dict[str, float]:
    """The newest value of each loss and validation score of a ``metrics.jsonl``; empty if there is none."""
    from polymodal.training.log import read_log

    scores: dict[str, float] = {}
    if metrics.exists():
        for line in read_log(metrics):
            scores |= line
    numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if name == "loss" or "." in name}


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
