"""What evaluation adds to molecules: validity, uniqueness, likeness of structures, and errors of properties."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.errors import DataError
from polymodal.evaluation.kinds.base import Kind
from polymodal.evaluation.metrics import other_rows, uniqueness, validity
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.generation import write
from polymodal.modalities import Molecule
from polymodal.modalities.chemistry import PROPERTIES, fingerprints, parse, properties
from polymodal.types import Field

_COMPARED = (0, 1)  # logP and mass, of PROPERTIES


class MoleculeKind(Kind):
    """Molecules are right if they are the row's own; others may be like it, or have its properties."""

    modality: Molecule

    def same(self, first: Field, second: Field) -> np.ndarray:
        pairs = zip(write(self.modality, first), write(self.modality, second), strict=True)
        return np.array([one == other and one != "" for one, other in pairs], dtype=float)

    def likeness(self, first: Field, second: Field) -> np.ndarray:
        """Tanimoto similarity of Morgan fingerprints; 0 where a molecule is not valid."""
        return tanimoto(write(self.modality, first), write(self.modality, second))

    def compare(self, real: Field, made: Field, *, ceiling: float, chance: float) -> list[MetricResult]:
        """Besides the exact match: similarity, and the errors of the properties that the valid ones have."""
        results = super().compare(real, made, ceiling=ceiling, chance=chance)
        true, ours = write(self.modality, real), write(self.modality, made)
        others = [true[i] for i in other_rows(np.array(true))]
        likely = float(tanimoto(true, others).mean())
        results.append(MetricResult("Tanimoto similarity", tanimoto(true, ours), ceiling=1.0, chance=likely))
        wanted, found = described(true), described(ours)
        rows = np.flatnonzero(~np.isnan(found[:, 0]) & ~np.isnan(wanted[:, 0]))
        if not len(rows):
            return results
        for place in _COMPARED:
            column = wanted[:, place]
            results.append(
                MetricResult(
                    f"error of {PROPERTIES[place]}", np.abs(found[rows, place] - column[rows]), rows=rows, ceiling=0.0,
                    chance=float(np.nanmean(np.abs(column - np.nanmean(column)))), higher_is_better=False,
                )
            )  # fmt: skip
        return results

    def features(self, field: Field) -> Tensor:
        """(n, 5) properties, each over its scale; zeros of what is not valid."""
        scales = np.array([2.0, 100.0, 40.0, 2.0, 2.0])
        return torch.from_numpy(np.nan_to_num(described(write(self.modality, field)) / scales))

    def pieces(self, field: Field) -> list[tuple[str, list[int]]]:
        """The symbols; ids that write nothing, such as an end, have an empty text."""
        (ids,) = field.values()
        return [(self.modality.symbol(number), [place]) for place, number in enumerate(ids.tolist())]

    def compare_sets(self, real: Field, made: Field) -> list[MetricResult]:
        ours, true = write(self.modality, made), write(self.modality, real)
        return [
            MetricResult("validity", validity(ours), ceiling=float(validity(true).mean()), aspect="quality"),
            MetricResult.of_set(
                "uniqueness", lambda rows: uniqueness([ours[i] for i in rows]), len(ours), bounds=(0, 1),
                ceiling=uniqueness(true), chance=1 / max(len(ours), 1), aspect="diversity", resampling="pairs",
            ),
        ]  # fmt: skip


def tanimoto(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """(n,) similarity of the Morgan fingerprints of pairs of SMILES, from 0 to 1; 0 where one is not valid."""
    result = np.zeros(len(first))
    pairs = [(_parsed(one), _parsed(other)) for one, other in zip(first, second, strict=True)]
    rows = [row for row, pair in enumerate(pairs) if None not in pair]
    if rows:
        one, other = (fingerprints([pairs[row][side] for row in rows]).astype(bool) for side in (0, 1))
        result[rows] = (one & other).sum(1) / np.maximum((one | other).sum(1), 1)
    return result


def described(molecules: Sequence[str]) -> np.ndarray:
    """(n, 5) properties of SMILES; NaN where one is not valid."""
    parsed = map(_parsed, molecules)
    return np.array([[np.nan] * len(PROPERTIES) if one is None else properties(one) for one in parsed])


@lru_cache(maxsize=4096)
def _parsed(smiles: str) -> Any:
    try:
        return parse(smiles)
    except DataError:
        return None
