"""EVALUATION: how good a model is, and how anyone can see it."""

from polymodal.evaluation.judges import Judge
from polymodal.evaluation.report import Card, Section, write_page, write_report
from polymodal.evaluation.scorecard import (
    Fault,
    Sample,
    Score,
    Scorecard,
    all_directions,
    draw_samples,
    evaluate,
    single_directions,
)

__all__ = [
    "Card", "Fault", "Judge", "Sample", "Score", "Scorecard", "Section", "all_directions", "draw_samples",
    "evaluate", "single_directions", "write_page", "write_report",
]  # fmt: skip
