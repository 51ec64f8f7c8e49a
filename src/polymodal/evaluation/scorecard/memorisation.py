"""Memorisation: how near samples come to single training rows, against how near real rows do that were held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.evaluation.scorecard.agreement import Examiner, MetricResult
from polymodal.types import Field, Space

COPY = 1 / 3
"""A value is a near-copy if its nearest training value is nearer than this share of the mean of the next ones."""
NEXT = 10
"""Training values behind the nearest with which it is compared."""
MOST = 5_000
"""Distinct training values that are looked through."""
_CHUNK = 512


@dataclass(frozen=True)
class Nearest:
    """What is nearest to each of n values.

    Attributes:
        rows: (n,) training row.
        distances: (n,).
        ratios: (n,) distance over the mean distance of the next nearest.
    """

    rows: np.ndarray
    distances: np.ndarray
    ratios: np.ndarray

    @property
    def copies(self) -> np.ndarray:
        """(n,) 1 for near-copies, else 0."""
        return (self.ratios < COPY).astype(float)


class TrainingSet:
    """The distinct training values of each field, to find the nearest ones.

    Args:
        training: Rows that the generator learned from.
        examiner: Has the judge.

    Source: the distance relative to a training set's own, Carlini et al., "Extracting training data from diffusion
    models", 2023, section 4.2.
    """

    def __init__(self, training: Rows, examiner: Examiner):
        self.training, self.examiner = training, examiner
        self._features: dict[str, Tensor | None] = {}

    def rows(self, name: str) -> np.ndarray:
        """Training rows of the distinct values of a field, at most ``MOST``, evenly apart."""
        slots, first = np.unique(self.training.columns[name].slots, return_index=True)
        first = np.sort(first[slots >= 0])
        return first[np.linspace(0, len(first) - 1, min(MOST, len(first))).astype(int)] if len(first) else first

    def nearest(self, name: str, field: Field) -> Nearest | None:
        """By the values themselves: pixels of pictures, bands of sound. None if there are too few training values."""
        rows, space = self.rows(name), self.training.fields[name].space
        if len(rows) < 3:
            return None
        query = _flat(field, space)
        parts = []
        for part in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
            values = self.training.only(name).decode(self.training.only(name).batch(part))[name]
            parts.append(torch.cdist(query, _flat(values, space)))
        return _nearest(torch.cat(parts, 1), rows)

    def nearest_judged(self, name: str, field: Field) -> Nearest | None:
        """In the judge's space; None if it does not know the field or there are too few training values."""
        rows, query, known = self.rows(name), self.examiner.features(name, field), self.features(name)
        if query is None or known is None or len(rows) < 3:
            return None
        return _nearest(torch.cdist(query.double(), known.double()), rows)

    def features(self, name: str) -> Tensor | None:
        """Of the distinct values (n, F); None if the judge does not know the field."""
        if name not in self._features:
            own, rows = self.training.only(name), self.rows(name)
            pieces = [
                self.examiner.features(name, own.decode(own.batch(part))[name])
                for part in np.split(rows, range(_CHUNK, len(rows), _CHUNK))
                if len(part)
            ]
            known = [piece for piece in pieces if piece is not None]
            self._features[name] = torch.cat(known) if known else None
        return self._features[name]


def near_copies(training: TrainingSet, to: str, real: Field, made: Field) -> tuple[list[MetricResult], Nearest | None]:
    """The share of near-copies among samples, beside that among the real values, and what is nearest to each sample.

    Only of continuous fields: among texts and classes a copy is as often simply right.
    """
    if not made.value.is_floating_point():
        return [], None
    outcomes, shown = [], None
    for metric, find in (
        ("near-copies of training rows", training.nearest),
        ("near-copies in the judge's space", training.nearest_judged),
    ):
        found, true = find(to, made), find(to, real)
        if found is None or true is None:
            continue
        shown = shown or found
        share = float(true.copies.mean())
        every = np.arange(len(made))
        outcome = MetricResult(metric, every, found.copies, None, share, None, {}, False, False, "memorisation")
        outcomes.append(outcome)
    return outcomes, shown


def _flat(field: Field, space: Space) -> Tensor:
    """(n, F), lengths that vary padded to the longest that there can be."""
    return field.pad(space.max_length).value.flatten(1)


def _nearest(distances: Tensor, rows: np.ndarray) -> Nearest:
    best = distances.topk(min(NEXT + 1, distances.shape[1]), dim=1, largest=False)
    nearest = best.values[:, 0].double()
    ratios = nearest / best.values[:, 1:].double().mean(1).clamp(min=1e-12)
    return Nearest(rows[best.indices[:, 0].numpy()], nearest.numpy(), ratios.numpy())
