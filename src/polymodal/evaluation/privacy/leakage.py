"""Leakage between fields: whether what is generated from one field gives back training values of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.generation import CHUNK, generate_rows
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.types import Field, Space

ALIKE = 8
"""Number of rows of the most similar input with which a row is compared."""
_DEVIATIONS = 2.576
"""Of a 99 % interval: there are many directions, and each is a chance to err."""


@dataclass(frozen=True)
class Leak:
    """Whether what is generated from one field gives training values of another back.

    Attributes:
        given: The input.
        to: The output.
        own: Mean over the training rows of the share of rows with a similar input whose value lies further from the
            output than the row's own value; 0.5 where nothing is revealed.
        own_held_out: The same of held-out rows: what a model reaches that has seen none of them.
        margin: Half the width of the 99 % interval of the difference of the two.
        others: Share of held-out inputs whose output lies nearer to a training value of a similar input than to any
            of as many held-out values; 0.5 if nothing is memorised.
        others_margin: Half the width of the 99 % interval of ``others``.
        rows: Number of training rows, and of held-out rows.
    """

    given: str
    to: str
    own: float
    own_held_out: float
    margin: float
    others: float
    others_margin: float
    rows: int

    @property
    def leaks(self) -> bool:
        """Whether either measure is beyond chance."""
        return self.own - self.own_held_out > self.margin or self.others - 0.5 > self.others_margin


def leakage(
    model: Model,
    members: Rows,
    others: Rows,
    given: str,
    to: str,
    *,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Leak:
    """Whether what is generated from one field gives back training values of another; see ``Leak``.

    The similarity of inputs is that of the mean tokens of the model's encoder, the distance of outputs that of the
    values themselves. As many training rows as held-out rows are taken, so that nothing else tells them apart.

    Args:
        model: To be attacked.
        members: Rows that it learned from, which have both fields.
        others: Rows that it did not learn from, which have both fields.
        given: The input.
        to: The output.
        seed: Seed of the noise.
        options: Sampling options of the heads, by field.
    """
    n = min(len(members), len(others))
    pair = [rows.select(np.arange(n)).only(given, to) for rows in (members, others)]
    batches = [rows.decode(rows.batch(np.arange(n))) for rows in pair]
    inputs = [_features(model, given, batch[given]) for batch in batches]
    everywhere = torch.ones(n, dtype=torch.bool)
    space = model.modalities[to].space
    made = [
        generate_rows(
            model,
            {given: batch[given]},
            {given: everywhere},
            {to: everywhere},
            make_keys(seed, n, start=i * n),
            options,
        )[to]
        for i, batch in enumerate(batches)
    ]
    shares, doubt = [], 0.0
    for rows, batch, feature, output in zip(pair, batches, inputs, made, strict=True):
        slots = torch.from_numpy(rows.columns[to].slots)
        apart = torch.cdist(feature, feature).masked_fill(slots[:, None] == slots, torch.inf)
        near = apart.topk(min(ALIKE, n - 1), largest=False)
        away = distances_between(output, batch[to], space)
        to_own, to_others = away.diagonal()[:, None], away.gather(1, near.indices)
        real = near.values.isfinite()
        wins = (to_others > to_own).double() + 0.5 * (to_others == to_own)
        known = real.any(1)
        shares.append(((wins * real).sum(1) / real.sum(1))[known].numpy())
        doubt += variance_of_mean(shares[-1], rows.columns[given].slots[known.numpy()])
    margin = _DEVIATIONS * doubt**0.5

    held_out, output = batches[1], made[1]
    least = []
    for batch, feature in zip(batches, inputs, strict=True):
        apart = torch.cdist(inputs[1], feature)
        if batch is held_out:
            apart.fill_diagonal_(torch.inf)
        places = apart.topk(min(ALIKE, n - 1), largest=False).indices
        least.append(distances_between(output, batch[to], space).gather(1, places).amin(1))
    nearer = ((least[0] < least[1]).double() + 0.5 * (least[0] == least[1])).numpy()
    own_share, held_share = (float(share.mean()) if len(share) else 0.5 for share in shares)
    return Leak(
        given,
        to,
        own_share,
        held_share,
        margin,
        float(nearer.mean()),
        _DEVIATIONS * variance_of_mean(nearer, pair[1].columns[given].slots) ** 0.5,
        n,
    )


def distances_between(first: Field, second: Field, space: Space) -> Tensor:
    """(n, m) Euclidean distances of values, or numbers of differing ids, all padded to the greatest length."""

    def flat(field: Field) -> Tensor:
        return field.with_value(field.value).pad(space.max_length).value.flatten(1)

    x, y = flat(first), flat(second)
    return torch.cdist(x.double(), y.double(), p=0.0 if space.kind == "discrete" else 2.0)


def variance_of_mean(values: np.ndarray, groups: np.ndarray) -> float:
    """The variance of a mean, where the values of a group (rows of one input) depend on each other.

    Args:
        values: (n,), shares from 0 to 1.
        groups: (n,) a number that names each value's group; if all differ, the result is the sample variance over n.

    Source: Liang and Zeger, "Longitudinal data analysis using generalized linear models", 1986, equation 2.
    """
    kinds, places = np.unique(groups, return_inverse=True)
    if len(kinds) < 2:
        return 0.25  # the most that a share can vary, as one group says nothing of others
    sums = np.bincount(places, values - values.mean())
    return float(len(kinds) / (len(kinds) - 1) * (sums**2).sum() / len(values) ** 2)


@torch.no_grad()
def _features(model: Model, name: str, field: Field) -> Tensor:
    """(n, D) the mean token of each row."""
    parts = torch.arange(len(field)).split(CHUNK)
    pieces = ({name: field.pick(part).to(model.device)} for part in parts)
    return torch.cat([model.tokens(name, piece).mean.cpu() for piece in pieces]).double()
