"""Byte pair encoding, and the vocabulary of it that comes with the package."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

REVISION = "pieces-8192-1"
"""Of the vocabulary that ``trained_vocabulary`` makes; 8,192 with the three ids that are no pieces."""


def byte_pairs(pieces: int, texts: Iterable[str]) -> Tokenizer:
    """A vocabulary of so many pieces, bytes included, that is learned from texts; lossless.

    Source: Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units", 2016.
    """
    tokenizer = _over_bytes(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=pieces, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@cache
def trained_vocabulary() -> str:
    """The vocabulary that comes with the package, as the library ``tokenizers`` writes it.

    ``modalities/weights/README.md`` says what it was learned from.
    """
    lines = (files("polymodal.modalities") / "weights" / f"{REVISION}.txt").read_text("utf-8").splitlines()
    merges = [(left, right) for left, right in (line.split(" ") for line in lines)]
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet()) + [left + right for left, right in merges]
    return _over_bytes(models.BPE({piece: place for place, piece in enumerate(pieces)}, merges)).to_str()


def _over_bytes(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
