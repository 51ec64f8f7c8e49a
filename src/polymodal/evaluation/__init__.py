"""EVALUATION: how good a model is, and how anyone can see it."""

from polymodal.evaluation.judges.contrastive import Judge
from polymodal.evaluation.report.page import Card, Section, write_page, write_report
from polymodal.evaluation.scorecard.faults import Fault
from polymodal.evaluation.scorecard.scorecard import (
    Sample,
    Score,
    Scorecard,
    all_directions,
    evaluate,
    single_directions,
)

__all__ = [
    "Card",
    "Fault",
    "Judge",
    "Sample",
    "Score",
    "Scorecard",
    "Section",
    "all_directions",
    "evaluate",
    "single_directions",
    "write_page",
    "write_report",
]
