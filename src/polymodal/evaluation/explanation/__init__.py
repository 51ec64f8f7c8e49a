"""Explanations: which input made an output, and which part of it."""

from polymodal.evaluation.explanation.attribution import Explanation, explain
from polymodal.evaluation.explanation.page import write_explanation

__all__ = ["Explanation", "explain", "write_explanation"]
