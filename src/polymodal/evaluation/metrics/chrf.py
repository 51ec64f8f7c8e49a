"""chrF of a corpus."""

from collections.abc import Sequence

import sacrebleu


def chrf(references: Sequence[str], outputs: Sequence[str]) -> float:
    """F-score, from 0 to 1, of runs of one to six characters; recall counts twice as much as precision.

    Source: Popovic, "chrF: character n-gram F-score for automatic MT evaluation", 2015, as computed by ``sacrebleu``.
    """
    return sacrebleu.corpus_chrf(list(outputs), [list(references)]).score / 100
