"""Validity, uniqueness and novelty of generated molecules."""

from collections.abc import Collection, Sequence

import numpy as np

from polymodal.modalities.chemistry import canonical_or_none


def validity(made: Sequence[str]) -> np.ndarray:
    """(n,) 1 where RDKit takes a SMILES for a molecule, else 0."""
    return np.array([canonical_or_none(text) is not None for text in made], dtype=float)


def uniqueness(made: Sequence[str]) -> float:
    """Share of distinct molecules, by their canonical SMILES, among the valid ones; 0 if there are none.

    Source: Polykovskiy et al., "Molecular Sets (MOSES)", 2020.
    """
    valid = [text for one in made if (text := canonical_or_none(one)) is not None]
    return len({*valid}) / max(len(valid), 1)


def novelty(made: Sequence[str], known: Collection[str]) -> float:
    """Share of the distinct valid molecules that are not among ``known`` canonical SMILES; 0 if there are none.

    Source: Polykovskiy et al., "Molecular Sets (MOSES)", 2020.
    """
    valid = {text for one in made if (text := canonical_or_none(one)) is not None}
    return len(valid - {*known}) / max(len(valid), 1)
