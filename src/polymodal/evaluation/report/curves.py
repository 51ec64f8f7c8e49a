"""Training curves: the lines of ``metrics.jsonl`` as small drawings."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

_WIDTH, _HEIGHT = 320, 120
_MOST = 400
"""Most points of a curve that are drawn."""

Points = list[tuple[float, float]]


def training_curves(run: Path) -> dict[str, Markup]:
    """Drawings of every loss that a run logged, by name: those of the model, then those of its codecs and vocoders."""
    files = {"": run / "metrics.jsonl"}
    files |= {
        f"{path.parent.name}, {path.parent.parent.name[:-1]}: ": path for path in sorted(run.glob("*s/*/metrics.jsonl"))
    }
    drawings = {}
    for prefix, file in files.items():
        if not file.is_file():
            continue
        curves = read_curves(file)
        for name, points in curves.items():
            if name.startswith("validation."):
                continue
            drawings[prefix + name] = draw(points, curves.get(f"validation.{name}", []))
    return drawings


def read_curves(file: Path) -> dict[str, Points]:
    """(step, value) of each loss and term of which there are at least two, by name; broken lines are left out."""
    curves: dict[str, Points] = {}
    for text in file.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):  # a run that is being written to, or was killed
            continue
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            continue
        for name, value in line.items():
            is_loss = name == "loss" or ("." in name and not name.startswith("gradient_norm"))
            if is_loss and isinstance(value, int | float) and math.isfinite(value):
                curves.setdefault(name, []).append((float(line["step"]), float(value)))
    return {name: points for name, points in curves.items() if len(points) > 1 or name.startswith("validation.")}


def draw(points: Points, validation: Points = ()) -> Markup:  # type: ignore[assignment]
    """A curve with its first and last step and value below it; another curve dashed."""
    both = [*points, *validation]
    (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*both, strict=True))

    def path(curve: Sequence[tuple[float, float]]) -> str:
        kept = curve[:: max(1, len(curve) // _MOST)]
        places = [
            (
                _WIDTH * (step - left) / max(right - left, 1e-12),
                (_HEIGHT - 8) * (high - value) / max(high - low, 1e-12) + 4,
            )
            for step, value in kept
        ]
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)

    dashed = Markup('<path class="dashed" d="{}"/>').format(path(validation)) if len(validation) > 1 else Markup("")
    picture = Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="from {} to {}">'
        '<path d="{}"/>{}</svg>'
    ).format(_WIDTH, _HEIGHT, _number(points[0][1]), _number(points[-1][1]), path(points), dashed)
    legend = Markup("<small>{} → {}, steps {:.0f} to {:.0f}</small>")
    return picture + legend.format(_number(points[0][1]), _number(points[-1][1]), left, right)


def _number(value: float) -> str:
    return f"{value:.3g}"
