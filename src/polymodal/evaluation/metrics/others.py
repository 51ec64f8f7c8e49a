"""Other rows: what is compared where a model is to be told from one that does not look at its inputs."""

import numpy as np

from polymodal.types import Field


def other_rows(groups: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """(n,) places of other rows, each once, whose groups differ from those of the rows themselves.

    Where a group has more than half of the rows, as few as can be are left with their own.

    Args:
        groups: (n,) the group of each row, such as the number of its value.
        seed: Seed of the order.
    """
    random = np.random.default_rng(seed)
    _, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((random.permutation(len(places)), random.permutation(len(counts))[places]))
    others = np.empty(len(order), dtype=np.int64)
    others[order] = np.roll(order, -int(counts.max(initial=0)))  # groups lie together, and none is longer than the step
    return others


def other_values(field: Field) -> np.ndarray:
    """(n,) as ``other_rows``, of rows that are grouped by their values."""
    _, groups = np.unique(field.value.flatten(1).cpu().numpy(), axis=0, return_inverse=True)
    return other_rows(groups)
