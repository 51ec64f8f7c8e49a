"""The heat map of a scorecard: subsets of inputs down, outputs across, each cell from chance to what is real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polymodal.evaluation.scorecard.scorecard import Score


@dataclass(frozen=True)
class Shade:
    """A cell.

    Attributes:
        score: That it shows.
        share: Where it lies from chance, 0, to real, 1.
    """

    score: Score
    share: float


@dataclass(frozen=True)
class HeatMap:
    """Rows of cells.

    Attributes:
        outputs: Columns.
        lines: For each subset of inputs its name and, by output, a cell or None.
    """

    outputs: list[str]
    lines: list[tuple[str, list[Shade | None]]]


def heat_map(scores: Sequence[Score]) -> HeatMap | None:
    """The first score of each direction as a heat map; None if there is none.

    A cell's share is that of the way from chance to the ceiling, 0 to 1; where a ceiling is not known, 1 or, of what
    is better if less, 0 stands for it.
    """
    first: dict[tuple[tuple[str, ...], str], Score] = {}
    for score in scores:
        first.setdefault((score.inputs, score.output), score)
    if not first:
        return None
    outputs = list(dict.fromkeys(output for _, output in first))
    subsets = sorted(dict.fromkeys(inputs for inputs, _ in first), key=len)
    lines: list[tuple[str, list[Shade | None]]] = []
    for subset in subsets:
        own = [first.get((subset, output)) for output in outputs]
        lines.append((" + ".join(subset), [None if score is None else Shade(score, _share(score)) for score in own]))
    return HeatMap(outputs, lines)


def _share(score: Score) -> float:
    top = score.ceiling if score.ceiling is not None else float(bool(score.higher_is_better))
    bottom = score.chance if score.chance is not None else float(not score.higher_is_better)
    if abs(top - bottom) < 1e-9:
        return 1.0 if score.value >= top else 0.0
    return min(max((score.value - bottom) / (top - bottom), 0.0), 1.0)
