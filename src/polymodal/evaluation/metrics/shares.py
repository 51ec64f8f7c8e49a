"""How often values are right: exactly the same, always the most frequent one, or the best function of the input."""

from collections.abc import Sequence

import numpy as np


def exact_match(references: Sequence[str], outputs: Sequence[str]) -> np.ndarray:
    """(n,) 1 where the output is the reference, letter by letter, else 0."""
    return np.array([reference == output for reference, output in zip(references, outputs, strict=True)], dtype=float)


def most_frequent_share(values: np.ndarray) -> float:
    """How often the most frequent of some values (n,) is right: the score of a model that always gives it."""
    _, counts = np.unique(values, return_counts=True)
    return float(counts.max() / counts.sum())


def best_function_share(inputs: np.ndarray, outputs: np.ndarray, scored: np.ndarray) -> float:
    """How often the best function of the input can be right where one input has many outputs.

    Args:
        inputs: (N,) number of the input of each row.
        outputs: (N,) number of the output of each row.
        scored: (n,) inputs that are scored.

    Returns:
        The mean, over the scored inputs, of the share of the most frequent output of each: 1 if every input has one.
    """
    pairs, counts = np.unique(np.stack([inputs, outputs]), axis=1, return_counts=True)
    shares = {}
    for value in np.unique(scored):
        of_value = counts[pairs[0] == value]
        shares[value] = of_value.max() / of_value.sum()
    return float(np.mean([shares[value] for value in scored]))
