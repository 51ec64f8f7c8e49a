"""Which rows the fashion data set has: what each shows, says and is called, and which are held out.

Every choice is made by a hash of the row's place in the official files, so that builds with other options agree
wherever they overlap.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polymodal.data.build_dataset import fraction
from polymodal.data.fashion.captions import LABELS, NAMES, caption
from polymodal.data.voices import NEURAL_VOICE, VOICES, Utterance

TRAINING_VOICES = (
    NEURAL_VOICE,
    "us-f2",
    "us-m6",
    "us-klatt5-high",
    "new-york-klatt5",
    "received-f2",
    "us-benjamin",
    "us-michel",
    "lancaster-edward",
    "british-reed",
)
HELD_OUT_VOICES = ("us-f5", "us-m3")
"""One woman and one man."""

TAKES = ((0, 150), (-16, 160), (16, 160), (-8, 170), (8, 170), (0, 180))
"""What each take of a name adds to the voice's pitch, and its words per minute."""

VALIDATION_SHARE = 1 / 30  # of the official training rows of each class: 200 of 6,000


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        place: Place of the picture in its official file, from 0.
        label: The class.
        caption: With the class in other words, or its kind.
        template: Of the caption.
        voice: That says the class's name.
        take: Which of ``TAKES``.
        split: ``train``, ``validation`` or ``test``.
    """

    place: int
    label: str
    caption: str
    template: str
    voice: str
    take: int
    split: str

    @property
    def clip(self) -> str:
        """Key of the speech."""
        return f"{self.label}/{self.voice}/{self.take}"


def plan(labels: Mapping[str, np.ndarray], train: int | None, voices: int, vague: float = 0.0) -> list[Row]:
    """All rows, in the order of the official files.

    Args:
        labels: Labels of the official splits ``train`` and ``test``, (n,) from 0 to 9.
        train: So many training rows, as evenly over the classes as can be; None for all.
        voices: So many voices of training.
        vague: Share of captions that leave doubt of the class.
    """
    chosen, validation = choose(labels["train"], train)
    rows = [_row("validation" if place in validation else "train", place, labels, voices, vague) for place in chosen]
    return rows + [_row("test", place, labels, voices, vague) for place in range(len(labels["test"]))]


def choose(labels: np.ndarray, train: int | None) -> tuple[list[int], set[int]]:
    """Places of the rows for training and validation together, in order, and of those for validation."""
    validation: set[int] = set()
    rest: list[list[int]] = []
    for label in range(len(LABELS)):
        places = sorted(np.flatnonzero(labels == label).tolist(), key=lambda place: fraction("train", str(place)))
        count = round(len(places) * VALIDATION_SHARE)
        validation.update(places[:count])
        rest.append(places[count:])
    in_turn = sorted((rank, label) for label, places in enumerate(rest) for rank in range(len(places)))
    return sorted([*validation, *(rest[label][rank] for rank, label in in_turn[:train])]), validation


def training_rows(labels: np.ndarray) -> int:
    """The most rows that there are to train on."""
    chosen, validation = choose(labels, None)
    return len(chosen) - len(validation)


def _row(split: str, place: int, labels: Mapping[str, np.ndarray], voices: int, vague: float) -> Row:
    official = "test" if split == "test" else "train"
    label = LABELS[labels[official][place]]
    heard: Sequence[str] = HELD_OUT_VOICES if split == "test" else TRAINING_VOICES[:voices]

    def draw(what: str) -> float:
        return fraction(what, official, str(place))

    voice = heard[int(draw("voice") * len(heard))]
    text, template = caption(label, draw("caption"), vague=draw("vague") < vague)
    return Row(place, label, text, template, voice, int(draw("take") * len(TAKES)), split)


def utterances(rows: Sequence[Row]) -> Iterator[Utterance]:
    """What is to be spoken for these rows, each once."""
    for row in {row.clip: row for row in rows}.values():
        voice, pitch = VOICES[row.voice]
        higher, words_per_minute = TAKES[row.take]
        pitch = min(max(pitch + higher, 0), 99)
        yield Utterance(row.clip, NAMES[row.label], voice, pitch, words_per_minute, seed=row.take)
