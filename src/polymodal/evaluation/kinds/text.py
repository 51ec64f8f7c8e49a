"""What evaluation adds to texts: error rates, BLEU and chrF, how varied their words are, and their pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from polymodal.evaluation.kinds.base import Kind
from polymodal.evaluation.metrics import bleu, character_errors, chrf, distinct_n, exact_match, other_rows, word_errors
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.generation import write
from polymodal.types import Field

LONG = 3
"""Mean number of words from which texts are compared word by word as well."""


class TextKind(Kind):
    """Texts are right if they are the row's own, letter by letter."""

    naming, sayable, tower = 0, True, "text"

    def same(self, first: Field, second: Field) -> np.ndarray:
        return exact_match(write(self.modality, first), write(self.modality, second))

    def compare(self, real: Field, made: Field, *, ceiling: float, chance: float) -> list[MetricResult]:
        references, outputs = write(self.modality, real), write(self.modality, made)
        results = super().compare(real, made, ceiling=ceiling, chance=chance)
        certain = ceiling == 1
        results.append(_error_rate("character error rate", character_errors, references, outputs, certain))
        if np.mean([len(text.split()) for text in references]) < LONG:
            return results
        results.append(_error_rate("word error rate", word_errors, references, outputs, certain))
        for name, metric in (("BLEU", bleu), ("chrF", chrf)):

            def statistic(rows: np.ndarray, metric: Callable[..., float] = metric) -> float:
                return metric([references[i] for i in rows], [outputs[i] for i in rows])

            chance = metric(references, _others(references))
            best = 1.0 if certain else None
            results.append(
                MetricResult.of_set(name, statistic, len(outputs), ceiling=best, chance=chance, bounds=(0, 1))
            )
        return results

    def compare_sets(self, real: Field, made: Field) -> list[MetricResult]:
        """Distinct-n: of pairs of words or, where most texts are single words, of words."""
        references, outputs = write(self.modality, real), write(self.modality, made)
        n = 2 if np.mean([len(text.split()) for text in references]) >= 2 else 1
        return [
            MetricResult.of_set(
                f"distinct-{n}", lambda rows: distinct_n([outputs[i] for i in rows], n), len(outputs), bounds=(0, 1),
                ceiling=distinct_n(references, n), chance=distinct_n(outputs[:1] * len(outputs), n),
                higher_is_better=None, aspect="diversity", resampling="pairs",
            )
        ]  # fmt: skip

    def pieces(self, field: Field) -> list[tuple[str, list[int]]]:
        """Whole characters or words; ids that write nothing, such as an end, have an empty text."""
        (ids,) = field.values()
        pieces: list[tuple[str, list[int]]] = []
        before, places = "", []
        for place in range(len(ids)):
            places.append(place)
            text = str(self.modality.write(ids[: place + 1]))
            if text.endswith("\ufffd"):  # bytes of a character that is not whole yet
                continue
            pieces.append((text[len(before) :], places))
            before, places = text, []
        return [*pieces, ("\ufffd", places)] if places else pieces


def _error_rate(
    name: str,
    count: Callable[[Sequence[str], Sequence[str]], tuple[np.ndarray, np.ndarray]],
    references: Sequence[str],
    outputs: Sequence[str],
    certain: bool,
) -> MetricResult:
    """Errors over lengths; by chance, of the texts of other rows. 0 can be reached where the inputs name one text."""
    errors, lengths = count(references, outputs)
    others, _ = count(references, _others(references))
    chance = float(others.sum() / max(lengths.sum(), 1))
    return MetricResult(name, errors, lengths, ceiling=0.0 if certain else None, chance=chance, higher_is_better=False)


def _others(texts: Sequence[str]) -> list[str]:
    """For each row the text of another row, which differs."""
    return [texts[i] for i in other_rows(np.array(texts))]
