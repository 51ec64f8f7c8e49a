"""Like with like: training and held-out rows of the same classes, and whether they differ without any model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from polymodal.data import Rows, connected
from polymodal.evaluation.kinds import find_kind
from polymodal.evaluation.scorecard.faults import as_vectors
from polymodal.types import Field

FOLDS = 5
COMPONENTS = 32
"""Principal components of the values that tell rows apart."""


def match(members: Rows, others: Rows, *, seed: int = 0) -> tuple[Rows, Rows, list[str]]:
    """As many rows of either kind for each combination of classes, and the names of the fields whose classes are alike.

    Fields with classes of which hardly any is in both, such as voices that were held out, cannot be matched.

    Args:
        members: Rows that were learned from.
        others: Rows of the same data set that were not.
        seed: Seed of the choice.
    """
    names = []
    for name in members.fields:
        if not find_kind(members.fields[name]).classes or not {name} <= members.columns.keys() & others.columns.keys():
            continue
        ours, theirs = members.columns[name], others.columns[name]
        if ours.key == theirs.key and np.isin(theirs.slots, ours.slots).mean() >= 0.5:
            names.append(name)
    if not names:
        return members, others, []
    slots = np.concatenate([np.stack([rows.columns[name].slots for name in names], 1) for rows in (members, others)])
    kinds = np.unique(slots, axis=0, return_inverse=True)[1].reshape(-1)
    first, second = kinds[: len(members)], kinds[len(members) :]
    most = np.minimum(*(np.bincount(its, minlength=int(kinds.max()) + 1) for its in (first, second)))
    return _at_most(members, first, most, seed), _at_most(others, second, most, seed), names


def blind_scores(members: Rows, others: Rows, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """How much each row looks like a member to who knows rows of both kinds, and no model: (n,) and (m,).

    A linear classifier of the rows' principal components scores those that it did not learn from; rows that share a
    value are learned from together. Where it does well, the two kinds differ in distribution, and attacks on a model
    find that as well.

    Source: Das, Zhang and Tramèr, "Blind baselines beat membership inference attacks for foundation models", 2024.

    Args:
        members: Rows that were learned from, at least as many as folds.
        others: Rows that were not.
        seed: Seed of the folds.
    """
    names = [name for name in members.fields if name in members.columns and name in others.columns]
    batches = [rows.decode(rows.only(*names).batch(np.arange(len(rows)))) for rows in (members, others)]
    columns = [_together(*(batch[name] for batch in batches)) for name in names]
    values = torch.cat(columns, 1).numpy()
    truth = np.repeat([1, 0], [len(members), len(others)])
    groups = np.concatenate([_groups(members, names), len(members) + _groups(others, names)])
    width = min(COMPONENTS, values.shape[1], len(values) // 2)
    classifier = make_pipeline(StandardScaler(), PCA(width, random_state=seed), LogisticRegression(C=0.1, max_iter=500))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(classifier, values, truth, groups=groups, cv=folds, method="decision_function")
    return scores[: len(members)], scores[len(members) :]


def _at_most(rows: Rows, kinds: np.ndarray, most: np.ndarray, seed: int) -> Rows:
    """So many rows of each kind, at random."""
    order = np.random.default_rng(seed).permutation(len(rows))
    place = np.zeros(len(rows), dtype=np.int64)
    for kind in np.unique(kinds):
        its = order[kinds[order] == kind]
        place[its] = np.arange(len(its))
    return rows.select(place < most[kinds])


def _groups(rows: Rows, names: Sequence[str]) -> np.ndarray:
    """(n,) a number for each row, equal where rows share a value that is no class."""
    shared, count = [], 0
    for name in names:
        if not find_kind(rows.fields[name]).classes:
            slots = rows.columns[name].slots
            shared.append(np.where(slots < 0, -1, count + slots))
            count += int(slots.max(initial=-1)) + 1
    return connected(shared, len(rows))


def _together(first: Field, second: Field) -> Tensor:
    """(n + m, F) the values of both as numbers, and whether they are present."""
    both = Field.stack([first, second])
    return torch.cat([as_vectors(both, both), both.present[:, None].double()], 1)
