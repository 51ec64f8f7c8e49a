"""Memorisation: how near samples come to single training rows, compared with real rows that were held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.types import Field

COPY = 1 / 3
"""A value is a near-copy if its nearest training value is nearer than this share of the mean of the next ones."""
NEXT = 10
"""Number of next-nearest training values with which the nearest one is compared."""
_CHUNK = 512
"""Training values that are compared at a time."""
_HELD_BYTES = 2**28
"""Most bytes of a field's training values that are kept in memory, decoded."""


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
        self._known: dict[str, Tensor | None] = {}
        self._kept: dict[str, list[Tensor]] = {}

    def nearest(self, name: str, field: Field) -> Nearest | None:
        """The nearest training values by the numbers themselves, such as pixels; None if there are too few."""
        return self._nearest(name, self._flat(name, field), self._numbers(name))

    def nearest_judged(self, name: str, field: Field) -> Nearest | None:
        """The nearest training values in the judge's space; None if it does not know the field or there are too few."""
        query, known = self.examiner.features(name, field), self._features(name)
        if query is None or known is None:
            return None
        return self._nearest(name, query.double(), (part.double() for part in known.split(_CHUNK)))

    def _features(self, name: str) -> Tensor | None:
        """Features of the distinct values (n, F); None if there are none."""
        if name not in self._known:
            parts = [self.examiner.features(name, part) for part in self._values(name)]
            known = [part for part in parts if part is not None]
            self._known[name] = torch.cat(known) if known else None
        return self._known[name]

    def _numbers(self, name: str) -> Iterable[Tensor]:
        """The distinct values (n, F), some at a time; they are read once if they are few enough to be held."""
        space = self.training.fields[name].space
        parts = (self._flat(name, part) for part in self._values(name))
        if name not in self._kept and 4 * len(self._rows(name)) * prod(space.shape) <= _HELD_BYTES:
            self._kept[name] = list(parts)
        return self._kept.get(name, parts)

    def _flat(self, name: str, field: Field) -> Tensor:
        """(n, F) numbers, of which those that vary in length are padded to the greatest length."""
        padded = field.pad(self.training.fields[name].space.max_length)
        return self.examiner.kinds[name].seen(padded).value.flatten(1)

    def _rows(self, name: str) -> np.ndarray:
        """Training rows of the distinct values of a field."""
        slots, first = np.unique(self.training.columns[name].slots, return_index=True)
        return np.sort(first[slots >= 0])

    def _values(self, name: str) -> Iterator[Field]:
        """The distinct values of a field, some at a time."""
        column, rows = self.training.only(name), self._rows(name)
        for part in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
            if len(part):
                yield column.decode(column.batch(part))[name]

    def _nearest(self, name: str, query: Tensor, known: Iterable[Tensor]) -> Nearest | None:
        """What is nearest to each query (n, F) among all distinct values (N, F), which come some at a time."""
        rows, place = self._rows(name), 0
        if len(rows) < 3:
            return None
        best, found = query.new_empty(len(query), 0), torch.empty(len(query), 0, dtype=torch.int64)
        for part in known:
            distances = torch.cat([best, torch.cdist(query, part)], 1)
            index = torch.arange(place, place + len(part)).expand(len(query), -1)
            best, chosen = distances.topk(min(NEXT + 1, distances.shape[1]), dim=1, largest=False)
            found, place = torch.cat([found, index], 1).gather(1, chosen), place + len(part)
        ratios = best[:, 0].double() / best[:, 1:].double().mean(1).clamp(min=1e-12)
        return Nearest(rows[found[:, 0].numpy()], ratios.numpy())


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
        both = find(to, Field.stack([made, real]))  # the training values are read once for both
        if both is None:
            continue
        shown = shown or Nearest(both.rows[: len(made)], both.ratios[: len(made)])
        copies, share = both.copies[: len(made)], float(both.copies[len(made) :].mean())
        about = {"ceiling": share, "higher_is_better": False, "aspect": "memorisation"}
        results.append(MetricResult(metric, copies, **about))  # type: ignore[arg-type]
    return results, shown
