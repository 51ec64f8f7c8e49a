"""The heat map of a scorecard: subsets of inputs down, outputs across, shades from chance to what real values score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polymodal.evaluation.scorecard import Score


@dataclass(frozen=True)
class Shade:
    """A cell of a heat map.

    Attributes:
        score: The score that it shows.
        share: Place of the score on the way from chance, 0, to what real values score, 1.
    """

    score: Score
    share: float


@dataclass(frozen=True)
class HeatMap:
    """A table of shades.

    Attributes:
        outputs: The columns.
        lines: For each subset of inputs its name and a cell, or None, for each output.
    """

    outputs: list[str]
    lines: list[tuple[str, list[Shade | None]]]


def heat_map(scores: Sequence[Score]) -> HeatMap | None:
    """The first score of each direction as a heat map; None if there is none.

    Where a ceiling is not known, 1 stands for it or, for metrics that are better if lower, 0; for chance the reverse.
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
        found = (first.get((subset, output)) for output in outputs)
        lines.append((" + ".join(subset), [None if score is None else Shade(score, _share(score)) for score in found]))
    return HeatMap(outputs, lines)


def _share(score: Score) -> float:
    top = score.ceiling if score.ceiling is not None else float(bool(score.higher_is_better))
    bottom = score.chance if score.chance is not None else float(not score.higher_is_better)
    if abs(top - bottom) < 1e-9:
        return 1.0 if score.value >= top else 0.0
    return min(max((score.value - bottom) / (top - bottom), 0.0), 1.0)
