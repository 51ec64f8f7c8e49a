"""EVALUATION: how good a model is, and how anyone can see it."""

from polymodal.evaluation.judge import Judge
from polymodal.evaluation.scorecard import Sample, Score, Scorecard, evaluate, single_directions

__all__ = ["Judge", "Sample", "Score", "Scorecard", "evaluate", "single_directions"]
