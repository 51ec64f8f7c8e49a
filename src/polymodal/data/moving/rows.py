"""Which rows ``moving`` has: what each shows, where it begins, how fast it is, and which are held out.

Every choice is made by a hash of the picture's place in the official files, so that builds with other options agree
wherever they overlap.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polymodal.data.build_dataset import fraction
from polymodal.data.fashion.captions import LABELS, NAMES
from polymodal.data.fashion.pictures import SIZE
from polymodal.data.fashion.rows import HELD_OUT_VOICES, TRAINING_VOICES, choose
from polymodal.data.moving.captions import DIRECTIONS, MOTIONS, OPPOSITE, Motion, caption
from polymodal.data.voices import VOICES, Utterance

SIDE, FRAMES, RATE_HZ = 64, 16, 8.0
ROOM = SIDE - SIZE
"""Places of a picture along an axis of the frame, less one."""
TEST_ROWS = 2000
_TURN = (FRAMES - 1) / 2
"""Frame after which a motion of two directions turns."""
_SHORTEST, _LONGEST = 12.0, 30.0
"""Pixels of a whole motion in one direction, or of each half of one in two."""
_WORDS_PER_MINUTE = 160


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        place: Place of the picture in its official file, from 0.
        label: The class.
        motion: Directions, one after the other.
        start: (x, y) of the picture's corner in the first frame.
        length: Pixels of the way in each direction.
        caption: Says both.
        template: Of the caption.
        voice: That says the class and the motion.
        split: ``train``, ``validation`` or ``test``.
        held_out: What of it no training row has: ``pair`` of class and motion, or ``voice`` alone.
    """

    place: int
    label: str
    motion: Motion
    start: tuple[float, float]
    length: float
    caption: str
    template: str
    voice: str
    split: str
    held_out: str | None

    @property
    def clip(self) -> str:
        """Key of the speech."""
        return f"{self.label}/{'-'.join(self.motion)}/{self.voice}"

    def corners(self) -> np.ndarray:
        """(FRAMES, 2) whole x and y of the picture's corner in each frame."""
        time = np.arange(FRAMES)
        way = np.array(self.start) + np.zeros((FRAMES, 2))
        legs = [time / (FRAMES - 1)] if len(self.motion) == 1 else [time / _TURN, time / _TURN - 1]
        for direction, share in zip(self.motion, legs, strict=True):
            way += self.length * np.clip(share, 0, 1)[:, None] * DIRECTIONS[direction]
        return np.rint(way).astype(int)


def is_held_out(label: str, motion: Motion) -> bool:
    """Whether only test shows this class move so: one straight motion of each class, and one that turns."""
    number = LABELS.index(label)
    return MOTIONS.index(motion) in (number % 4, 4 + (5 * number) % 12)


def plan(labels: Mapping[str, np.ndarray], train: int, voices: int) -> list[Row]:
    """All rows, in the order of the official files; half of those of test have a pair that is held out.

    Args:
        labels: Labels of the official splits ``train`` and ``test``, (n,) from 0 to 9.
        train: So many training rows, as evenly over the classes as can be.
        voices: So many voices of training.
    """
    chosen, validation = choose(labels["train"], train)
    rows = [_row("validation" if place in validation else "train", place, labels, voices) for place in chosen]
    return rows + [_row("test", place, labels, voices) for place in range(min(TEST_ROWS, len(labels["test"])))]


def _row(split: str, place: int, labels: Mapping[str, np.ndarray], voices: int) -> Row:
    label = LABELS[labels["test" if split == "test" else "train"][place]]
    new = split == "test" and _draw("new", split, place) < 0.5
    motions = [motion for motion in MOTIONS if is_held_out(label, motion) == new]
    heard = HELD_OUT_VOICES if split == "test" else TRAINING_VOICES[:voices]
    held_out = ("pair" if new else "voice") if split == "test" else None
    return draw_row(split, place, label, motions, heard, held_out)


def draw_row(
    split: str,
    place: int,
    label: str,
    motions: Sequence[Motion] = MOTIONS,
    voices: Sequence[str] = TRAINING_VOICES,
    held_out: str | None = None,
) -> Row:
    """A row of the picture at a place of its official file, its motion and its voice among some."""

    def draw(what: str) -> float:
        return _draw(what, split, place)

    motion = motions[int(draw("motion") * len(motions))]
    length = _SHORTEST + draw("length") * (_LONGEST - _SHORTEST)
    start = (_start(motion, length, 0, draw("x")), _start(motion, length, 1, draw("y")))
    text, template = caption(label, motion, draw("caption"))
    voice = voices[int(draw("voice") * len(voices))]
    return Row(place, label, motion, start, length, text, template, voice, split, held_out)


def _draw(what: str, split: str, place: int) -> float:
    return fraction("moving", what, "test" if split == "test" else "train", str(place))


def _start(motion: Motion, length: float, axis: int, choice: float) -> float:
    """Where a motion begins along an axis, so that it stays within the frame and what bounces touches the wall."""
    ways = [length * DIRECTIONS[direction][axis] for direction in motion]
    if len(motion) == 2 and motion[1] == OPPOSITE[motion[0]] and ways[0]:
        return ROOM - length if ways[0] > 0 else length
    reached = np.cumsum([0.0, *ways])
    low, high = -reached.min(), ROOM - reached.max()
    return float(low + choice * (high - low))


def spoken(label: str, motion: Motion) -> str:
    """What a voice says."""
    return f"{NAMES[label]} {' then '.join(motion)}"


def utterances(rows: Sequence[Row]) -> Iterator[Utterance]:
    """What is to be spoken for these rows, each once."""
    for row in {row.clip: row for row in rows}.values():
        voice, pitch = VOICES[row.voice]
        yield Utterance(row.clip, spoken(row.label, row.motion), voice, pitch, _WORDS_PER_MINUTE)
