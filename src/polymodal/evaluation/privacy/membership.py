"""How well a number tells members of a training set from others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_curve

LOW_RATES = (0.001, 0.01)
"""False-positive rates that an attacker would want: a few members named for sure do more harm than many guesses."""
RESAMPLES = 200


@dataclass(frozen=True)
class Attack:
    """What one attack reached.

    Attributes:
        field: Whose loss it looks at.
        name: Of the attack.
        auc: Area under the ROC curve: the chance that a member scores above another row, 0.5 for a guess.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        true_positive_rates: By each of ``LOW_RATES``, the share of members found at no more false alarms than that.
        members: Rows that were learned from.
        others: Rows that were not.
        curve: The ROC curve, (false-positive rate, true-positive rate) in order.
    """

    field: str
    name: str
    auc: float
    low: float
    high: float
    true_positive_rates: tuple[float, ...]
    members: int
    others: int
    curve: tuple[tuple[float, float], ...]


def area_under_curve(members: np.ndarray, others: np.ndarray) -> float:
    """The chance that a member's score is above another row's, ties by half: the area under the ROC curve."""
    others = np.sort(others)
    below = np.searchsorted(others, members, "left") + np.searchsorted(others, members, "right")
    return float(below.mean()) / (2 * len(others))


def attack(field: str, name: str, members: np.ndarray, others: np.ndarray, *, seed: int = 0) -> Attack:
    """Judges an attack by its scores, greater for what it takes to be a member.

    A rate below one false alarm among the others allows none, so that rates below 1 / ``len(others)`` are of the
    members that score above every other row.

    Args:
        field: Attacked.
        name: Of the attack.
        members: Scores (n,) of rows that were learned from.
        others: Scores (m,) of rows that were not.
        seed: Of the bootstrap.

    Source: Carlini et al., "Membership inference attacks from first principles", 2022, section 3.
    """
    scores = np.concatenate([members, others])
    truth = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    alarms, found, _ = roc_curve(truth, scores, drop_intermediate=True)
    random = np.random.default_rng(seed)

    def resampled() -> float:
        return area_under_curve(random.choice(members, len(members)), random.choice(others, len(others)))

    low, high = np.quantile([resampled() for _ in range(RESAMPLES)], (0.025, 0.975))
    return Attack(
        field,
        name,
        area_under_curve(members, others),
        float(low),
        float(high),
        tuple(float(found[alarms <= rate].max()) for rate in LOW_RATES),
        len(members),
        len(others),
        tuple((float(x), float(y)) for x, y in zip(alarms, found, strict=True)),
    )
