"""Membership inference: how well the loss of a row predicts whether a model learned from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_curve

from polymodal.data import Rows
from polymodal.generation import CHUNK
from polymodal.model import Model
from polymodal.nn.random import make_keys

LOW_RATES = (0.001, 0.01)
"""False-positive rates that an attacker would want: a few members named for sure do more harm than many guesses."""
RESAMPLES = 200


@dataclass(frozen=True)
class Attack:
    """How well one attack succeeded.

    Attributes:
        field: The field whose loss it uses.
        name: Name of the attack.
        auc: Area under the ROC curve: the chance that a member scores above another row, 0.5 for a guess.
        low: Lower end of the 95 % bootstrap interval of ``auc``.
        high: Upper end of the interval.
        true_positive_rates: The share of members that are found at no more false alarms than each of ``LOW_RATES``.
        members: Number of rows that were learned from.
        others: Number of rows that were not.
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
    """The success of an attack whose scores are greater for rows that it takes to be members.

    A false-positive rate below 1 / ``len(others)`` allows no false alarm, so that it counts the members that score
    above every other row.

    Args:
        field: The field that is attacked.
        name: Name of the attack.
        members: Scores (n,) of rows that were learned from.
        others: Scores (m,) of rows that were not.
        seed: Seed of the bootstrap.

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


def membership_attacks(
    model: Model,
    members: Rows,
    others: Rows,
    to: str,
    *,
    reference: Model | None = None,
    draws: int = 4,
    seed: int = 0,
) -> list[Attack]:
    """The loss attack and the calibrated attack on one field, all other fields of a row given.

    The calibrated one takes from the loss how hard a row is for who has not seen it: the loss of one other model, if
    there is one; otherwise the model's own where nothing is given, so that the pairing of the fields is attacked. It is
    no likelihood-ratio attack, which compares the losses of many models that learned from a row with many that did not.

    Source: Yeom et al., "Privacy risk in machine learning", 2018 (the loss); Watson et al., "On the importance of
    difficulty calibration in membership inference attacks", 2022 (calibrated).
    """
    every = [name for name in model.encoders if name != to]
    losses = [row_losses(model, rows, every, to, draws=draws, seed=seed) for rows in (members, others)]
    other = reference or model
    easy = [
        row_losses(other, rows, every if reference else [], to, draws=draws, seed=seed) for rows in (members, others)
    ]
    calibrated = [hard - loss for loss, hard in zip(losses, easy, strict=True)]
    name = f"loss, less that {'of the reference' if reference else 'with nothing given'}"
    return [
        attack(to, "loss", -losses[0], -losses[1], seed=seed),
        attack(to, name, *calibrated, seed=seed),
    ]


@torch.no_grad()
def row_losses(model: Model, rows: Rows, given: Sequence[str], to: str, *, draws: int = 4, seed: int = 0) -> np.ndarray:
    """(n,) the loss of a field in each row, averaged over noises, given those of some fields that the row has."""
    rows = rows.only(*given, to)
    keys, found = make_keys(seed, draws), []
    for part in torch.arange(len(rows)).split(CHUNK):
        batch = {name: field.to(model.device) for name, field in rows.decode(rows.batch(part)).items()}
        total = torch.zeros(len(part), dtype=torch.float64)
        for key in keys.to(model.device):
            noise = key.expand(len(part))  # the same noise for all, which makes their losses easier to compare
            visible = {name: batch[name].present.cpu() for name in given}
            total += model.condition(batch, visible, noise).total_loss(to, model.target(batch, to)).cpu()
        found.append(total / draws)
    return torch.cat(found).numpy()
