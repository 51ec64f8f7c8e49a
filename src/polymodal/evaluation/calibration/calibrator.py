"""Calibrators: scores in [0, 1] -> the probability of being right, learned from cells whose true value is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

BINS = 15
ISOTONIC_CELLS = 1000
"""Fewest cells for isotonic regression, which learns the noise of fewer."""


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, *, bins: int = BINS) -> float:
    """Mean distance of the confidence from the share that is right, over bins of equally many cells.

    Equal confidences stay in one bin, so that the order of the cells does not matter. Even a perfect confidence does
    not quite reach 0: with n cells in a bin, chance leaves about sqrt(p (1 - p) / n).

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015, section 4; bins of
    equal mass: Nixon et al., "Measuring calibration in deep learning", 2019, section 3.

    Args:
        confidence: (n,) in [0, 1], n at least 1.
        right: (n,) 1 or 0.
        bins: Their number, at most.
    """
    order = np.argsort(confidence, kind="stable")
    confidence, right = np.asarray(confidence, float)[order], np.asarray(right, float)[order]
    edges = confidence[np.arange(1, bins) * len(confidence) // bins]
    bounds = np.unique([0, *np.searchsorted(confidence, edges), len(confidence)])
    parts = zip(np.split(confidence, bounds[1:-1]), np.split(right, bounds[1:-1]), strict=True)
    return float(sum(abs(expected.sum() - found.sum()) for expected, found in parts) / len(confidence))


@dataclass(frozen=True)
class Calibrator:
    """Platt scaling of the scores of a cell and, with enough cells, isotonic regression of what it gives.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999; Zadrozny and Elkan, "Transforming
    classifier scores into accurate multiclass probability estimates", 2002.

    Attributes:
        mean: (F,) means of the scores' logits, which stand in for a score that a cell lacks.
        scale: (F,) standard deviations of the logits.
        weights: (F,) weights of the standardised logits in the logistic function.
        bias: Of the logistic function.
        steps: Ascending outputs of the logistic function and the probability at each; None without isotonic regression.
    """

    mean: list[float]
    scale: list[float]
    weights: list[float]
    bias: float
    steps: tuple[list[float], list[float]] | None = None

    @classmethod
    def fit(cls, scores: np.ndarray, right: np.ndarray) -> Calibrator:
        """Learns from cells.

        Args:
            scores: (n, F) in [0, 1], NaN where a cell has none; n at least 1.
            right: (n,) 1 or 0.
        """
        logits, right = _logit(scores), np.asarray(right, float)
        known = ~np.isnan(logits)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, logits, 0).sum(0) / count
        scale = np.sqrt((np.where(known, logits - mean, 0) ** 2).sum(0) / count)
        scale = np.where(scale > 1e-6, scale, 1.0)
        flat = cls(mean.tolist(), scale.tolist(), [0.0] * len(mean), 0.0)
        if right.min() == right.max():  # Laplace's rule of succession
            return cls(flat.mean, flat.scale, flat.weights, float(_logit((right.sum() + 1) / (len(right) + 2))))
        logistic = LogisticRegression().fit(flat._standardised(scores), right)
        smooth = cls(flat.mean, flat.scale, logistic.coef_[0].tolist(), float(logistic.intercept_[0]))
        if len(right) < ISOTONIC_CELLS:
            return smooth
        edge = 1 / (len(right) + 2)
        steps = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(smooth(scores), right)
        return cls(
            smooth.mean,
            smooth.scale,
            smooth.weights,
            smooth.bias,
            (steps.X_thresholds_.tolist(), steps.y_thresholds_.tolist()),
        )

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores (n, F) -> probabilities (n,)."""
        logits = self._standardised(scores) @ np.array(self.weights) + self.bias
        smooth = np.exp(-np.logaddexp(0, -logits))
        return smooth if self.steps is None else np.interp(smooth, *self.steps)

    def _standardised(self, scores: np.ndarray) -> np.ndarray:
        z = (_logit(scores) - np.array(self.mean)) / np.array(self.scale)
        return np.where(np.isnan(z), 0.0, z)

    def state(self) -> dict[str, Any]:
        """The attributes as JSON, of which ``Calibrator(**state)`` builds it again."""
        return asdict(self)


def _logit(share: Any) -> np.ndarray:
    share = np.clip(np.asarray(share, float), 1e-9, 1 - 1e-9)
    return np.log(share) - np.log1p(-share)
