"""Retrieval with a run's alignment: how often a value finds one that belongs to it among all of another field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polymodal.data import Rows
from polymodal.embedding import AlignedEmbedder
from polymodal.errors import DataError


@dataclass(frozen=True)
class Retrieval:
    """Scores of one direction.

    Attributes:
        given: Field that is given.
        to: Field that is looked in.
        recall: By k, the share of queries of which the k nearest values hold one that belongs to them.
        median_rank: Of the nearest value that belongs to a query, from 1.
        queries: Distinct values that were given.
        candidates: Distinct values that were looked in.
        chance: By k, the recall of a random order.
    """

    given: str
    to: str
    recall: dict[int, float]
    median_rank: float
    queries: int
    candidates: int
    chance: dict[int, float]


def first_ranks(similarities: np.ndarray, belongs: np.ndarray) -> np.ndarray:
    """(Q,) rank, from 1, of the nearest candidate that belongs to each query.

    Candidates that do not belong and are as near come first, so that an embedding that tells nothing apart finds
    nothing.

    Args:
        similarities: (Q, N).
        belongs: (Q, N) bool; each query has at least one.
    """
    best = np.where(belongs, similarities, -np.inf).max(axis=1, keepdims=True)
    return 1 + ((similarities >= best) & ~belongs).sum(axis=1)


def recall_at(ranks: np.ndarray, k: int) -> float:
    """The share of queries whose first rank (Q,) is at most k."""
    return float((ranks <= k).mean())


def retrieval(
    embedder: AlignedEmbedder, rows: Rows, given: str, to: str, *, ks: Sequence[int] = (1, 5, 10), most: int = 1000
) -> Retrieval:
    """How well a field finds another among real rows, best those that were held out.

    A value of ``to`` belongs to one of ``given`` if a row has both. Each distinct value is one query or candidate.

    Args:
        embedder: Of the model that is scored.
        rows: Real rows.
        given: Field that is given.
        to: Field that is looked in.
        ks: How many of the nearest values count.
        most: Rows that are looked at, spread evenly over those that have both fields.

    Raises:
        ConfigError: A field is unknown or not aligned.
        DataError: No row has both fields.
    """
    embedder.check([given], "given")
    embedder.check([to], "to")
    both = np.flatnonzero(rows.present[given] & rows.present[to])
    if not len(both):
        raise DataError(f"retrieval: no row has both '{given}' and '{to}'")
    own = rows.select(both[np.linspace(0, len(both) - 1, min(len(both), most)).astype(np.int64)])
    places, vectors = [], []
    for name in (given, to):
        _, place = np.unique(own.columns[name].slots, return_inverse=True)
        first = np.unique(place, return_index=True)[1]
        places.append(place)
        vectors.append(embedder.embed_rows(name, own.select(first)).double().numpy())
    similarities = vectors[0] @ vectors[1].T
    belongs = np.zeros(similarities.shape, dtype=bool)
    belongs[places[0], places[1]] = True
    ranks, (queries, candidates) = first_ranks(similarities, belongs), similarities.shape
    recall = {k: recall_at(ranks, k) for k in ks}
    chance = {k: _chance(belongs.sum(1), candidates, k) for k in ks}
    return Retrieval(given, to, recall, float(np.median(ranks)), queries, candidates, chance)


def _chance(belonging: np.ndarray, candidates: int, k: int) -> float:
    """Recall at k of a random order, where ``belonging`` (Q,) candidates belong to each query."""
    missed = np.ones(len(belonging))
    for drawn in range(min(k, candidates)):
        missed *= np.maximum(candidates - belonging - drawn, 0) / (candidates - drawn)
    return float(1 - missed.mean())
