"""The scorecard: everything that is measured of what a model generates, direction by direction."""

from polymodal.evaluation.scorecard.comparison import (
    Difference,
    Evaluation,
    compare,
    comparison_table,
    read_evaluation,
)
from polymodal.evaluation.scorecard.evaluate import all_directions, draw_samples, evaluate, single_directions
from polymodal.evaluation.scorecard.faults import Fault
from polymodal.evaluation.scorecard.scorecard import Sample, Score, Scorecard, number

__all__ = [
    "Difference", "Evaluation", "Fault", "Sample", "Score", "Scorecard", "all_directions", "compare",
    "comparison_table", "draw_samples", "evaluate", "number", "read_evaluation", "single_directions",
]  # fmt: skip
