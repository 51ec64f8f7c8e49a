"""Memorisation: how near samples come to single training rows, compared with real rows that were held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.types import Field, Space

COPY = 1 / 3
"""A value is a near-copy if its nearest training value is nearer than this share of the mean of the next ones."""
NEXT = 10
"""Number of next-nearest training values with which the nearest one is compared."""
MOST = 5_000
"""Most distinct training values that are looked through."""
_CHUNK = 512


@dataclass(frozen=True)
class Nearest:
    """What is nearest to each of n values.

    Attributes:
        rows: (n,) number of the training row.
        ratios: (n,) its distance over the mean distance of the next-nearest ones.
    """

    rows: np.ndarray
    ratios: np.ndarray

    @property
    def copies(self) -> np.ndarray:
        """(n,) 1 for near-copies, else 0."""
        return (self.ratios < COPY).astype(float)


class TrainingSet:
    """The distinct training values of each field, to find the nearest ones.

    Args:
        training: Rows that the generator learned from.
        examiner: Has the judge, if there is one.

    Source: distances relative to those of the training set, Carlini et al., "Extracting training data from diffusion
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
        """The nearest training values by the numbers themselves, such as pixels; None if there are too few."""
        rows, space = self.rows(name), self.training.fields[name].space
        if len(rows) < 3:
            return None
        query = _flat(field, space)
        return _nearest(torch.cat([torch.cdist(query, _flat(part, space)) for part in self._values(name)], 1), rows)

    def nearest_judged(self, name: str, field: Field) -> Nearest | None:
        """The nearest training values in the judge's space; None if it does not know the field or there are too few."""
        rows, query, known = self.rows(name), self.examiner.features(name, field), self.features(name)
        if query is None or known is None or len(rows) < 3:
            return None
        return _nearest(torch.cdist(query.double(), known.double()), rows)

    def features(self, name: str) -> Tensor | None:
        """Features of the distinct values (n, F); None if there are none."""
        if name not in self._features:
            parts = [self.examiner.features(name, part) for part in self._values(name)]
            known = [part for part in parts if part is not None]
            self._features[name] = torch.cat(known) if known else None
        return self._features[name]

    def _values(self, name: str) -> Iterator[Field]:
        """The distinct values of a field, some at a time."""
        column, rows = self.training.only(name), self.rows(name)
        for part in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
            if len(part):
                yield column.decode(column.batch(part))[name]


def near_copies(training: TrainingSet, to: str, real: Field, made: Field) -> tuple[list[MetricResult], Nearest | None]:
    """The share of near-copies among samples and, as its ceiling, among real values; what is nearest to each sample.

    Nothing for ids: a text or label that is among the training rows is mostly simply right.
    """
    if not made.value.is_floating_point():
        return [], None
    results, shown = [], None
    for metric, find in (
        ("near-copies of training rows", training.nearest),
        ("near-copies in the judge's space", training.nearest_judged),
    ):
        found, true = find(to, made), find(to, real)
        if found is None or true is None:
            continue
        shown = shown or found
        share = float(true.copies.mean())
        about = {"ceiling": share, "higher_is_better": False, "aspect": "memorisation"}
        results.append(MetricResult(metric, found.copies, **about))  # type: ignore[arg-type]
    return results, shown


def _flat(field: Field, space: Space) -> Tensor:
    """(n, F) numbers, of which those that vary in length are padded to the greatest length."""
    return field.pad(space.max_length).value.flatten(1)


def _nearest(distances: Tensor, rows: np.ndarray) -> Nearest:
    best = distances.topk(min(NEXT + 1, distances.shape[1]), dim=1, largest=False)
    ratios = best.values[:, 0].double() / best.values[:, 1:].double().mean(1).clamp(min=1e-12)
    return Nearest(rows[best.indices[:, 0].numpy()], ratios.numpy())
