"""Metrics of one generated value each, and the mean of many with its interval."""

from collections.abc import Sequence

import jiwer
import numpy as np

_AS_IT_IS = jiwer.ReduceToListOfListOfChars()
"""By default jiwer drops spaces at the ends, which are errors as any other."""


def exact_match(references: Sequence[str], outputs: Sequence[str]) -> np.ndarray:
    """(n,) 1 where the output is the reference, letter by letter, else 0."""
    return np.array([reference == output for reference, output in zip(references, outputs, strict=True)], dtype=float)


def character_errors(references: Sequence[str], outputs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Characters to substitute, insert or delete to make each reference of each output (n,), and those of it (n,).

    The sum of the first over the sum of the second is the character error rate of the corpus.

    Source: Levenshtein (1966), as computed by ``jiwer``.
    """
    errors = []
    for reference, output in zip(references, outputs, strict=True):
        counts = jiwer.process_characters(reference, output, _AS_IT_IS, _AS_IT_IS)
        errors.append(counts.substitutions + counts.insertions + counts.deletions)
    return np.array(errors, dtype=float), np.array([len(reference) for reference in references], dtype=float)


def bootstrap_interval(
    values: np.ndarray, weights: np.ndarray | None = None, *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of ``values.sum() / weights.sum()`` under resampling of the rows.

    Args:
        values: (n,) numerators of the rows, n at least 1.
        weights: (n,) denominators, 1 each if not given: the interval is then that of the mean.
        seed: Of the draws.
        draws: Number of resampled sets.
        level: Share of the draws within the interval.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 13.3.
    """
    weights = np.ones(len(values)) if weights is None else weights
    index = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    ratios = values[index].sum(1) / np.maximum(weights[index].sum(1), 1e-12)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def most_frequent_share(values: np.ndarray) -> float:
    """How often the commonest of some values (n,) is right: the score of a model that always says it."""
    _, counts = np.unique(values, return_counts=True)
    return float(counts.max() / counts.sum())


def best_function_share(inputs: np.ndarray, outputs: np.ndarray, scored: np.ndarray) -> float:
    """How often the best function of the input can be right where one input has many outputs.

    Args:
        inputs: (N,) which input each row of the data has.
        outputs: (N,) which output.
        scored: (n,) inputs that are scored.

    Returns:
        The mean, over the scored inputs, of the share of the input's commonest output: 1 where every input has one.
    """
    pairs, counts = np.unique(np.stack([inputs, outputs]), axis=1, return_counts=True)
    shares = {}
    for value in np.unique(scored):
        own = counts[pairs[0] == value]
        shares[value] = own.max() / own.sum()
    return float(np.mean([shares[value] for value in scored]))
