"""Text: strings <-> ids of bytes, or of a vocabulary learned by byte pair encoding."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from polymodal.errors import ConfigError, DataError, quote
from polymodal.modalities.base import ColumnSample, Modality, Stored, read_file, usual_limit
from polymodal.modalities.vocabulary import byte_pairs, trained_vocabulary
from polymodal.types import Space

_TAUGHT = 1 << 12
"""Characters of a text that a vocabulary is learned from at once: the time that it takes grows as their square where
there is no space."""
_SHORT = 256
"""Bytes of a text that is no burden, however short the others are."""

_LONG = 64
"""Characters, or bytes of a file, from which on a text tells which row it is."""


class Text(Modality):
    """Strings of limited length, in any script.

    Space: discrete (max_length,), of varying length. Ids: 0 pads, 1 ends, 2 begins, the rest are tokens: the bytes
    of UTF-8, or learned ones. Stored: the tokens and the end, without a beginning. Both tokenisers are lossless.

    Args:
        max_length: Most ids of a text, its end included. A longer text is refused, never cut.
        tokenizer: None for bytes; ``bpe`` to learn byte pair encoding from the training rows, or ``trained`` for the
            8,192 pieces that come with the package. Either puts the learned tokenizer, in the JSON of the
            ``tokenizers`` library, in this argument's place.
        vocab_size: Most ids of a learned vocabulary, special ids included.

    Raises:
        ConfigError: An argument is out of range.
    """

    PAD: ClassVar[int] = 0
    END: ClassVar[int] = 1
    BEGIN: ClassVar[int] = 2
    SHIFT: ClassVar[int] = 3
    """Id of the first token."""

    dtype = np.int32
    suffixes = (".txt",)
    inline = True

    def __init__(self, max_length: int = 64, tokenizer: str | None = None, vocab_size: int = 4096) -> None:
        if max_length < 2:
            raise ConfigError(f"max_length: {max_length} leaves no room for a text and its end; 2 or more does")
        if tokenizer == "bpe" and vocab_size < self.SHIFT + 256:
            raise ConfigError(f"vocab_size: {vocab_size} is too few; {self.SHIFT + 256} or more hold every byte")
        tokenizer = trained_vocabulary() if tokenizer == "trained" else tokenizer
        self.max_length, self.tokenizer, self.vocab_size = max_length, tokenizer, vocab_size
        self._learned: Tokenizer | None = None
        if tokenizer not in (None, "bpe"):
            self.comes_trained = tokenizer == trained_vocabulary()
            try:
                self._learned = Tokenizer.from_str(tokenizer)
            except Exception as error:  # the library raises plain Exception
                raise ConfigError(
                    f"tokenizer: {quote(tokenizer)} is none of 'bpe', 'trained' and a tokenizer's JSON: {error}"
                ) from error
        vocab = 256 + self.SHIFT if tokenizer is None else vocab_size
        if self._learned is not None:
            vocab = self._learned.get_vocab_size() + self.SHIFT
        self.space = Space("discrete", (max_length,), vocab=vocab, varies=0)

    def prepare(self, raws: Iterable[Any]) -> None:
        if self.tokenizer != "bpe":
            return
        tokenizer = byte_pairs(self.vocab_size - self.SHIFT, _texts(raws))
        self.__init__(self.max_length, tokenizer.to_str(), self.vocab_size)  # type: ignore[misc]

    def read(self, raw: Any) -> np.ndarray:
        """Str; or path or bytes of a UTF-8 file, whose final line break is no part of the text -> ids (length,)."""
        text = decode_text(raw)
        try:
            encoded = text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"the text holds a lone surrogate at character {error.start}, which is no Unicode"
            ) from error
        if self.tokenizer == "bpe":
            raise DataError("the tokenizer is not learned yet; prepare() learns it")
        if self._learned is None:
            tokens = np.frombuffer(encoded, dtype=np.uint8)
        else:
            tokens = np.asarray(self._learned.encode(text).ids)
        if len(tokens) >= self.max_length:
            unit = "bytes" if self._learned is None else "tokens"
            raise DataError(
                f"the text has {len(tokens)} {unit}; max_length {self.max_length} holds {self.max_length - 1}"
            )
        ids = np.empty(len(tokens) + 1, dtype=self.dtype)
        ids[:-1] = tokens
        ids[:-1] += self.SHIFT
        ids[-1] = self.END
        return ids

    def read_many(self, raws: Sequence[Any]) -> Stored | None:
        if self.tokenizer is not None or not all(isinstance(raw, str) for raw in raws):
            return None
        try:
            encoded = [raw.encode() for raw in raws]
        except UnicodeEncodeError:
            return None
        lengths = [len(text) + 1 for text in encoded]
        if max(lengths, default=1) > self.max_length:
            return None
        ids = np.frombuffer(b"\0".join([*encoded, b""]), dtype=np.uint8).astype(self.dtype) + self.SHIFT
        ids[np.cumsum(lengths) - 1] = self.END
        return ids, lengths

    @classmethod
    def groups(cls, raw: Any) -> bool:
        """Long texts; names and short captions are those of many rows."""
        if isinstance(raw, Path):
            return raw.stat().st_size >= _LONG
        return isinstance(raw, str | bytes) and len(raw) >= _LONG

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.to(torch.int64)

    def words(self, thing: str) -> list[str]:
        return re.findall(r"\w+", thing.lower())

    def write(self, value: Tensor) -> str:
        """Ids (length,) -> str up to the first end; bytes that are no UTF-8 become U+FFFD."""
        ids = value.detach().reshape(-1).cpu().numpy()
        ends = np.flatnonzero(ids == self.END)
        ids = ids[: ends[0]] if len(ends) else ids
        tokens = ids[ids >= self.SHIFT] - self.SHIFT
        if self._learned is None:
            return tokens.astype(np.uint8).tobytes().decode(errors="replace")
        return self._learned.decode(tokens.tolist(), skip_special_tokens=False)

    def portable(self) -> dict[str, Any]:
        return {"form": "text", "tokenizer": self.tokenizer}

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """Strings; of the length of the longest, without the few that are far longer than all others."""
        if not sample.mostly(str):
            return None
        lengths = np.asarray(sample.lengths)
        longest = usual_limit(lengths, _SHORT)
        outside = int((lengths > longest).sum())
        found = cls(max_length=8 * (int(longest) // 8 + 1))  # at least one more than the longest, for the end
        if outside:
            sample.notes.append(
                f"max_length={found.max_length} holds all but {outside:,} of {len(lengths):,} texts, which would be "
                f"missing; the longest has {lengths.max():,} bytes"
            )
        return found


def _texts(raws: Iterable[Any]) -> Iterator[str]:
    """Those that are text."""
    for raw in raws:
        with suppress(DataError, UnicodeEncodeError):  # read() refuses the same cell, and says so with its row
            text = decode_text(raw).encode().decode()
            yield from (text[start : start + _TAUGHT] for start in range(0, len(text), _TAUGHT))


def decode_text(raw: Any) -> str:
    """Str, or path or bytes of a UTF-8 file without its final line break -> str.

    Raises:
        DataError: It is none of these.
    """
    if isinstance(raw, str):
        return raw
    if isinstance(raw, Path):
        raw = read_file(raw)
    if not isinstance(raw, bytes):
        raise DataError(f"{shown(raw)} is not a string")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"the text is not UTF-8: byte 0x{raw[error.start]:02x} at {error.start}") from error
    return text.removesuffix("\n").removesuffix("\r")


def shown(raw: Any) -> str:
    """A value in an error message, cut short: ``5 (int)``."""
    return f"{quote(raw)} ({type(raw).__name__})"
