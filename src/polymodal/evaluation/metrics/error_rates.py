"""Character and word error rates of a corpus."""

from collections.abc import Sequence

import jiwer
import numpy as np

_AS_IT_IS = jiwer.ReduceToListOfListOfChars()
"""Keeps spaces at the ends, which are errors like any other; jiwer drops them by default."""


def character_errors(references: Sequence[str], outputs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Characters to substitute, insert or delete to turn outputs into references (n,); lengths of the references (n,).

    The sum of the first over the sum of the second is the character error rate of the corpus.

    Source: Levenshtein (1966), as computed by ``jiwer``.
    """
    errors = []
    for reference, output in zip(references, outputs, strict=True):
        counts = jiwer.process_characters(reference, output, _AS_IT_IS, _AS_IT_IS)
        errors.append(counts.substitutions + counts.insertions + counts.deletions)
    return np.array(errors, dtype=float), np.array([len(reference) for reference in references], dtype=float)


def word_errors(references: Sequence[str], outputs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Words to substitute, insert or delete to turn outputs into references (n,); lengths of the references (n,).

    The sum of the first over the sum of the second is the word error rate of the corpus. Words are separated by spaces.

    Source: Levenshtein (1966), as computed by ``jiwer``.
    """
    errors = []
    for reference, output in zip(references, outputs, strict=True):
        if not reference.strip():  # jiwer refuses a reference without a word
            errors.append(len(output.split()))
            continue
        counts = jiwer.process_words(reference, output)
        errors.append(counts.substitutions + counts.insertions + counts.deletions)
    return np.array(errors, dtype=float), np.array([len(reference.split()) for reference in references], dtype=float)
