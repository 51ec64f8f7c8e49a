"""Metrics against closed forms and published implementations."""

import jiwer
import numpy as np
import pytest

from polymodal.evaluation.metrics import (
    best_function_share,
    bootstrap_interval,
    character_errors,
    exact_match,
    most_frequent_share,
)


def levenshtein(a: str, b: str) -> int:
    """The textbook's recursion, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def test_exact_match():
    assert exact_match(["cat", "dog", ""], ["cat", "Dog", ""]).tolist() == [1, 0, 1]


def test_character_errors_are_edit_distances():
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abc "), random.integers(0, 9))) for _ in range(60)]
    references, outputs = words[:30], words[30:]
    errors, lengths = character_errors(references, outputs)
    assert errors.tolist() == [levenshtein(a, b) for a, b in zip(references, outputs, strict=True)]
    assert lengths.tolist() == [len(reference) for reference in references]


def test_character_error_rate_of_a_corpus_is_jiwers():
    references, outputs = ["red apple", "black cat", "sun"], ["red aple", "back cart", "moon"]
    errors, lengths = character_errors(references, outputs)
    assert errors.sum() / lengths.sum() == pytest.approx(jiwer.cer(references, outputs))


def test_interval_of_a_proportion_is_the_normal_one():
    values = np.array([1.0] * 300 + [0.0] * 700)
    low, high = bootstrap_interval(values, draws=4000)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert low == pytest.approx(0.3 - half, abs=0.004)
    assert high == pytest.approx(0.3 + half, abs=0.004)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)


def test_interval_of_a_ratio_weighs_the_rows():
    assert bootstrap_interval(np.array([2.0, 6.0]), np.array([4.0, 12.0])) == (0.5, 0.5)


def test_shares():
    assert most_frequent_share(np.array([1, 2, 2, 3])) == 0.5
    # Input 0 has outputs 5, 5, 6: at best 2 of 3. Input 1 has one output.
    inputs, outputs = np.array([0, 0, 0, 1]), np.array([5, 5, 6, 7])
    assert best_function_share(inputs, outputs, np.array([0, 1])) == pytest.approx((2 / 3 + 1) / 2)
    assert best_function_share(inputs, outputs, np.array([1])) == 1
