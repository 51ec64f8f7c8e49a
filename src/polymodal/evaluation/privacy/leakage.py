"""Leakage between fields: whether what is generated from one field gives back training values of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from polymodal.data import Rows
from polymodal.generation import CHUNK, generate_rows
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.types import Field, Space

ALIKE = 8
"""Number of rows of the most similar input with which a row is compared."""
SURE = 0.05
"""Probability, of all tests of an audit together, of calling a leak what is none."""
MOST_SHUFFLES = 1999
_ENOUGH = 20
"""Shuffles as extreme as the truth after which no more are needed: the probability is no small one."""


@dataclass(frozen=True)
class Leak:
    """Whether what is generated from one field gives training values of another back.

    Attributes:
        given: The input.
        to: The output.
        own: Mean over the training rows of the share of rows with a similar input whose value lies further from the
            output than the row's own value; 0.5 where nothing is revealed.
        own_held_out: The same of held-out rows: what a model reaches that has seen none of them.
        own_p: Probability that ``own`` is as far above ``own_held_out`` if it does not matter which rows were learned
            from; ``audit`` corrects it for the number of all tests.
        others: Share of held-out inputs whose output lies nearer to a training value of a similar input than to any
            of as many held-out values; 0.5 if nothing is memorised.
        others_p: The same probability of ``others``.
        rows: Number of training rows, and of held-out rows.
    """

    given: str
    to: str
    own: float
    own_held_out: float
    own_p: float
    others: float
    others_p: float
    rows: int

    @property
    def leaks(self) -> bool:
        """Whether either measure is beyond chance."""
        return min(self.own_p, self.others_p) < SURE


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
    slots = np.concatenate([rows.columns[to].slots for rows in pair])
    if pair[0].columns[to].key != pair[1].columns[to].key:  # slots of other data mean other values
        slots = np.concatenate([slots[:n], slots[n:] + slots.max() + 1])
    feature, values, output = torch.cat(inputs), *(_together(fields) for fields in ([b[to] for b in batches], made))
    neighbours = _Neighbours(feature, distances_between(output, values, space), torch.from_numpy(slots))
    is_member = np.arange(2 * n) < n
    own, own_held_out, nearer = neighbours.measure(is_member)
    units = _units(pair, (given, to))
    random = np.random.default_rng(seed)

    def shuffled() -> np.ndarray:
        """Differences where other rows are taken for those that were learned from."""
        own, held_out, nearer = neighbours.measure(_shuffle(units, n, random))
        return np.array([own - held_out, nearer])

    own_p, others_p = _probabilities(np.array([own - own_held_out, nearer]), shuffled)
    return Leak(given, to, own, own_held_out, float(own_p), nearer, float(others_p), n)


class _Neighbours:
    """Rows in the order of the similarity of their inputs to each row's, by which any division of them is measured.

    Args:
        feature: (m, D) of the inputs.
        away: (m, m) distance of each output from each value.
        slots: (m,) number of each distinct value.
    """

    def __init__(self, feature: Tensor, away: Tensor, slots: Tensor):
        apart = torch.cdist(feature, feature).fill_diagonal_(torch.inf)
        self.order = apart.argsort(1)[:, :-1]  # all but the row itself
        distance = away.gather(1, self.order)
        own = away.diagonal()[:, None]
        self.distance, self.differs = distance, slots[self.order] != slots[:, None]
        self.wins = (distance > own).double() + 0.5 * (distance == own)

    def measure(self, is_member: np.ndarray) -> tuple[float, float, float]:
        """``own``, ``own_held_out`` and ``others`` of ``Leak``, where these rows (m,) are those learned from."""
        member = torch.from_numpy(is_member)
        member_there = member[self.order]
        mine = _first(self.differs & (member_there == member[:, None]))
        counts = mine.sum(1)
        share = (self.wins * mine).sum(1) / counts.clamp(min=1)
        known = counts > 0
        own, held_out = (
            float(share[known & side].mean()) if (known & side).any() else 0.5 for side in (member, ~member)
        )
        least = [
            self.distance.masked_fill(~_first(member_there == side), torch.inf).amin(1)[~member]
            for side in (True, False)
        ]
        nearer = (least[0] < least[1]).double() + 0.5 * (least[0] == least[1])
        return own, held_out, float(nearer.mean())


def _first(there: Tensor) -> Tensor:
    """The first ``ALIKE`` of each row (m, k) that are True."""
    return there & (there.cumsum(1) <= ALIKE)


def _together(fields: Sequence[Field]) -> Field:
    longest = max(field.mask.shape[1] for field in fields)
    return Field.stack([field.pad(longest) for field in fields])


def _units(pair: Sequence[Rows], names: Sequence[str]) -> np.ndarray:
    """(2 n,) a number for each row, the same for rows that were divided together.

    Rows with the same value of a field, all of which are on one side, may have been put there because of it. Where a
    value is on both sides, rows were divided one by one.
    """
    n = len(pair[0])
    links: list[tuple[np.ndarray, np.ndarray]] = []
    for name in names:
        first, second = (rows.columns[name].slots for rows in pair)
        if pair[0].columns[name].key != pair[1].columns[name].key:
            second = second + first.max() + 1
        slots = np.concatenate([first, second])
        together = ~np.isin(slots, np.intersect1d(first, second))
        _, place = np.unique(np.where(together, slots, slots.max() + 1 + np.arange(2 * n)), return_inverse=True)
        representative = np.full(place.max() + 1, -1)
        representative[place[::-1]] = np.arange(2 * n)[::-1]
        links.append((np.arange(2 * n), representative[place]))
    rows_of, others = (np.concatenate(ends) for ends in zip(*links, strict=True))
    graph = csr_array((np.ones(len(rows_of)), (rows_of, others)), shape=(2 * n, 2 * n))
    return connected_components(graph, directed=False)[1]


def _shuffle(units: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """(2 n,) a mask of about n rows, whole units, drawn at random."""
    order = random.permutation(units.max() + 1)
    sizes = np.bincount(units)[order]
    taken = np.cumsum(sizes) - sizes // 2 <= n
    mask = np.zeros(len(order), dtype=bool)
    mask[order[taken]] = True
    return mask[units]


def _probabilities(found: np.ndarray, shuffled: Callable[[], np.ndarray]) -> np.ndarray:
    """Probability of each of some statistics (k,) or a greater one, where shuffling changes nothing.

    Source: Besag and Clifford, "Sequential Monte Carlo p-values", 1991: no more shuffles than are needed.
    """
    above, count, result = np.zeros(len(found)), 0, np.full(len(found), np.nan)
    while np.isnan(result).any() and count < MOST_SHUFFLES:
        above += shuffled() >= found - 1e-12
        count += 1
        result = np.where(np.isnan(result) & (above >= _ENOUGH), above / count, result)
    return np.where(np.isnan(result), (above + 1) / (count + 1), result)


def distances_between(first: Field, second: Field, space: Space) -> Tensor:
    """(n, m) Euclidean distances of values, or numbers of differing ids, all padded to the greatest length."""

    def flat(field: Field) -> Tensor:
        return field.with_value(field.value).pad(space.max_length).value.flatten(1)

    x, y = flat(first), flat(second)
    return torch.cdist(x.double(), y.double(), p=0.0 if space.kind == "discrete" else 2.0)


@torch.no_grad()
def _features(model: Model, name: str, field: Field) -> Tensor:
    """(n, D) the mean token of each row."""
    parts = torch.arange(len(field)).split(CHUNK)
    pieces = ({name: field.pick(part).to(model.device)} for part in parts)
    return torch.cat([model.tokens(name, piece).mean.cpu() for piece in pieces]).double()
