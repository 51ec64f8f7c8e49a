"""Distinct-n: how varied texts are."""

from collections.abc import Sequence


def distinct_n(outputs: Sequence[str], n: int) -> float:
    """Number of different runs of ``n`` words over the number of all runs; 0 without any.

    It falls with the number of texts, so compare equal numbers.

    Source: Li et al., "A diversity-promoting objective function for neural conversation models", 2016, section 5.2.
    """
    runs = [tuple(words[i : i + n]) for words in map(str.split, outputs) for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0
