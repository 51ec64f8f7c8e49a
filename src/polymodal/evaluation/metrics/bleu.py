"""BLEU of a corpus."""

from collections.abc import Sequence

import sacrebleu


def bleu(references: Sequence[str], outputs: Sequence[str]) -> float:
    """Share, from 0 to 1, of the outputs' words and runs of two to four words that the references have.

    Source: Papineni et al., "BLEU: a method for automatic evaluation of machine translation", 2002, as computed by
    ``sacrebleu`` with its standard tokenizer (Post, "A call for clarity in reporting BLEU scores", 2018).
    """
    return sacrebleu.corpus_bleu(list(outputs), [list(references)]).score / 100
