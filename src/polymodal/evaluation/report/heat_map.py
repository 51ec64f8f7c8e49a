"""The heat map of a scorecard: subsets of inputs down, outputs across, shades from chance to what real values score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polymodal.evaluation.report.ability import telling_range
from polymodal.evaluation.scorecard import Score


@dataclass(frozen=True)
class Shade:
    """A cell of a heat map.

    Attributes:
        score: The score that it shows.
        share: Place of the score on the way from chance, 0, to what real values score, 1; None where one of both is
            not known, they are about the same, or the judge is unable, so that the score tells nothing.
    """

    score: Score
    share: float | None


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
    """The first score of each direction as a heat map; None if there is none."""
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


def _share(score: Score) -> float | None:
    if (ends := telling_range(score)) is None:
        return None
    chance, real = ends
    return min(max((score.value - chance) / (real - chance), 0.0), 1.0)
