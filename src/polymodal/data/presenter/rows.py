"""Which rows ``presenter`` has: who says what, and what is held out.

Choices are made by hashes and in the order of ``sentences``, so that builds with other options agree wherever they
overlap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polymodal.data.build_dataset import fraction
from polymodal.data.fashion.rows import HELD_OUT_VOICES, TRAINING_VOICES
from polymodal.data.presenter.sentences import sentences
from polymodal.data.voices import VOICES, Utterance

VALIDATION_ROWS, MOST_TEST = 60, 300
TAKES = ((0, 150), (-12, 165), (12, 165), (0, 180))
"""What a take adds to the voice's pitch, and its words per minute."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        text: The sentence, which no other row has.
        voice: That says it.
        take: Which of ``TAKES``.
        split: ``train``, ``validation`` or ``test``.
    """

    text: str
    voice: str
    take: int
    split: str

    @property
    def held_out(self) -> str | None:
        """What of it no training row has, beside the sentence."""
        return "voice" if self.split == "test" else None

    @property
    def utterance(self) -> Utterance:
        """What is to be spoken; its key is the sentence."""
        voice, pitch = VOICES[self.voice]
        higher, words_per_minute = TAKES[self.take]
        return Utterance(self.text, self.text, voice, pitch + higher, words_per_minute, seed=self.take)


def most_train() -> int:
    """The most training rows that there are."""
    return len(sentences()) - VALIDATION_ROWS - MOST_TEST


def plan(train: int, test: int, voices: int) -> list[Row]:
    """All rows; those of a split are the same, or the first of them, for any numbers of the others.

    Args:
        train: Number of training rows.
        test: Number of test rows.
        voices: So many voices of training.
    """
    texts, heard = sentences(), TRAINING_VOICES[:voices]
    last = VALIDATION_ROWS + MOST_TEST
    return [
        *_rows("train", texts[last : last + train], heard),
        *_rows("validation", texts[:VALIDATION_ROWS], heard),
        *_rows("test", texts[VALIDATION_ROWS : VALIDATION_ROWS + test], HELD_OUT_VOICES),
    ]


def _rows(split: str, texts: Sequence[str], voices: Sequence[str]) -> Iterator[Row]:
    for text in texts:
        voice = voices[int(fraction("presenter voice", text) * len(voices))]
        yield Row(text, voice, int(fraction("presenter take", text) * len(TAKES)), split)
