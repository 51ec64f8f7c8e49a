"""How often something is right: letter by letter, always saying the commonest, or knowing all that the input tells."""

from collections.abc import Sequence

import numpy as np


def exact_match(references: Sequence[str], outputs: Sequence[str]) -> np.ndarray:
    """(n,) 1 where the output is the reference, letter by letter, else 0."""
    return np.array([reference == output for reference, output in zip(references, outputs, strict=True)], dtype=float)


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
