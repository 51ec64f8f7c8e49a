"""A run while it trains: its losses and its newest samples."""

from pathlib import Path

from markupsafe import Markup

from polymodal.evaluation.report.curves import training_curves
from polymodal.studio.frames import player


def losses(run: Path) -> str:
    """Curves of all losses that were logged, as HTML; dashed lines are of the validation rows."""
    drawings = [
        Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(name, drawing)
        for name, drawing in training_curves(run).items()
    ]
    return Markup('<div class="curves">{}</div>').format(Markup("").join(drawings)) if drawings else ""


def newest_samples(run: Path) -> Path | None:
    """The folder of the newest samples that are whole."""
    return max((path.parent for path in run.glob("samples/step-*/samples.txt")), default=None)  # written last


def samples(newest: Path | None) -> str:
    """The samples in a folder, as HTML: real values above generated ones, and sound to play."""
    if newest is None:
        return ""
    shown = [
        Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(path.stem, tag)
        for path in sorted(newest.iterdir())
        if (tag := player(path))
    ]
    text = (newest / "samples.txt").read_text(encoding="utf-8").strip()
    lines = Markup("<pre>{}</pre>").format(text) if text else Markup("")
    return Markup('<div class="samples"><small>{}</small><div>{}</div>{}</div>').format(
        newest.name, Markup("").join(shown), lines
    )
