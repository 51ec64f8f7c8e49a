"""EVALUATION: how good a model is, and how anyone can see it."""

from polymodal.evaluation.judge import Judge
from polymodal.evaluation.report import Card, Section, write_page, write_report
from polymodal.evaluation.scorecard import Sample, Score, Scorecard, evaluate, single_directions

__all__ = [
    "Card",
    "Judge",
    "Sample",
    "Score",
    "Scorecard",
    "Section",
    "evaluate",
    "single_directions",
    "write_page",
    "write_report",
]
