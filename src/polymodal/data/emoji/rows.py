"""Which rows the emoji data set has, and which of them are held out.

Every choice is made by a hash of what it is about, so the rows of two builds agree wherever their concepts do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polymodal.data.build_dataset import fraction
from polymodal.data.emoji.concepts import STYLES, Concept
from polymodal.data.voices import NEURAL_VOICE, VOICES

HELD_OUT_VOICES = ("us-f5", "us-m3")
"""One woman and one man, in an accent that training hears from others."""

TRAINING_VOICES = tuple(voice for voice in VOICES if voice not in HELD_OUT_VOICES)

HELD_OUT_STYLE_SHARE = 0.1
HELD_OUT_TONE_SHARE = 0.1
VALIDATION_SHARE = 0.4  # of the concepts, one row each: about 3 % of the rows


@dataclass(frozen=True)
class Row:
    """One row: a picture of a concept and, of a concept without skin tone, its name spoken by one voice.

    Attributes:
        concept: Its base gives the names.
        style: Of the picture.
        voice: None where the row has no speech.
        split: ``train``, ``validation`` or ``test``.
        held_out: Of a test row, the reason why training has nothing like it: ``style``, ``tone`` or ``voice``.
    """

    concept: Concept
    style: str
    voice: str | None
    split: str = "train"
    held_out: str | None = None


def held_out_style(base: str) -> str | None:
    """The style in which training never sees this concept, in any skin tone; None for most concepts."""
    if fraction("held-out style", base) >= HELD_OUT_STYLE_SHARE:
        return None
    return STYLES[int(fraction("which style", base) * len(STYLES))]


def held_out_tones(base: str, tones: Sequence[str]) -> set[str]:
    """The skin tones in which training never sees this concept, in any style; never all of them."""
    if held_out_style(base) is not None:  # one reason per concept keeps the two tests apart
        return set()
    draws = sorted((fraction("held-out tone", base, tone), tone) for tone in tones)
    return {tone for draw, tone in draws[:-1] if draw < HELD_OUT_TONE_SHARE}


def plan(concepts: Sequence[Concept], voices: int) -> list[Row]:
    """All rows of these concepts.

    A concept without skin tone has a row for each of ``voices`` voices of training, the neural one and others by
    hash, and for each held-out voice, with its two pictures in turn. One with a skin tone has a row for each
    picture, without speech.
    """
    tones: dict[str, list[str]] = {}
    for concept in concepts:
        if concept.skin_tone != "none":
            tones.setdefault(concept.base, []).append(concept.skin_tone)
    held_tones = {base: held_out_tones(base, of_base) for base, of_base in tones.items()}
    rows: list[Row] = []
    for concept in concepts:
        if concept.skin_tone == "none":
            rows += _spoken(concept, voices)
        else:
            rows += _toned(concept, concept.skin_tone in held_tones[concept.base])
    return rows


def _spoken(concept: Concept, count: int) -> Iterator[Row]:
    unseen = held_out_style(concept.base)
    seen = [style for style in STYLES if style != unseen]
    first = int(fraction("first style", concept.code) * len(seen))
    voices = sorted(TRAINING_VOICES, key=lambda voice: (voice != NEURAL_VOICE, fraction("voice", concept.code, voice)))
    voices = voices[:count]
    validated = None
    if fraction("validation", concept.code) < VALIDATION_SHARE:
        validated = voices[1 + int(fraction("validation voice", concept.code) * (len(voices) - 1))]
    for turn, voice in enumerate(voices, first):
        yield Row(concept, seen[turn % len(seen)], voice, "validation" if voice == validated else "train")
    for turn, voice in enumerate(HELD_OUT_VOICES, first):
        yield Row(concept, seen[turn % len(seen)], voice, "test", "voice")
    if unseen:
        yield Row(concept, unseen, NEURAL_VOICE, "test", "style")


def _toned(concept: Concept, tone_held_out: bool) -> Iterator[Row]:
    unseen = held_out_style(concept.base)
    for style in STYLES:
        if tone_held_out:
            yield Row(concept, style, None, "test", "tone")
        elif style == unseen:
            yield Row(concept, style, None, "test", "style")
        else:
            yield Row(concept, style, None)
