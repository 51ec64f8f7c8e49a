"""The grammar of ``presenter``: what is announced of times, places and numbers, all in words."""

from collections.abc import Iterator
from itertools import product

from polymodal.data.build_dataset import fraction

PLACES = (
    "Rome", "Paris", "Boston", "Vienna", "Cairo", "Oslo", "Madrid", "Lima", "Dublin", "Berlin", "Tokyo", "Havana",
    "Delhi", "Prague", "Moscow", "Sydney",
)  # fmt: skip
_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty"]
NUMBERS = (*_ONES, *_TENS, *(f"{ten} {one}" for ten, one in product(_TENS, _ONES[:9])))
TIMES = (
    *(f"{hour} o'clock" for hour in _ONES),
    *(f"{part} {hour}" for part in ("half past", "quarter to", "quarter past", "ten to") for hour in _ONES),
)

TEMPLATES = (
    "the train to {place} leaves at {time}",
    "bus number {number} goes to {place}",
    "it is {number} degrees in {place}",
    "it is {time} in {place}",
    "gate {number} closes at {time}",
    "the flight from {place} lands at {time}",
    "platform {number} for {place}",
    "{place} is {number} miles away",
)
_WORDS = {"place": PLACES, "number": NUMBERS, "time": TIMES}


def sentences() -> list[str]:
    """All sentences, those of the templates in turn, each template's in an order that hashes make."""
    of_templates = [sorted(_filled(template), key=lambda text: fraction("presenter", text)) for template in TEMPLATES]
    rounds = max(len(texts) for texts in of_templates)
    return [texts[turn] for turn in range(rounds) for texts in of_templates if turn < len(texts)]


def _filled(template: str) -> Iterator[str]:
    names = [name for name in _WORDS if f"{{{name}}}" in template]
    for words in product(*(_WORDS[name] for name in names)):
        yield template.format(**dict(zip(names, words, strict=True)))
