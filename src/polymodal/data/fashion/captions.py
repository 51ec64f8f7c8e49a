"""What the classes are called, and captions: clear ones, which say a class in many ways, and vague ones."""

import re
from itertools import product

NAMES = {
    "t-shirt": "t-shirt",
    "trousers": "trousers",
    "pullover": "sweater",
    "dress": "dress",
    "coat": "coat",
    "sandal": "sandal",
    "shirt": "shirt",
    "sneaker": "sneaker",
    "bag": "bag",
    "ankle boot": "ankle boot",
}
"""Label -> name as it is spoken, in the order of the labels 0 to 9. ``pullover`` is no word of pocketsphinx."""

LABELS = tuple(NAMES)

SYNONYMS = {
    "t-shirt": ("a t-shirt", "a tee shirt", "a tee"),
    "trousers": ("trousers", "a pair of trousers", "a pair of pants"),
    "pullover": ("a pullover", "a sweater", "a jumper"),
    "dress": ("a dress", "a gown", "a frock"),
    "coat": ("a coat", "an overcoat", "a jacket"),
    "sandal": ("a sandal", "a strappy sandal", "an open sandal"),
    "shirt": ("a shirt", "a button shirt", "a blouse"),
    "sneaker": ("a sneaker", "a trainer", "a running shoe"),
    "bag": ("a bag", "a handbag", "a purse"),
    "ankle boot": ("an ankle boot", "a boot", "a short boot"),
}
"""Label -> what a caption calls it. No noun belongs to two classes."""

_SLEEVES, _SLEEVELESS, _FOOTWEAR = "something with sleeves", "something sleeveless", "some footwear"
KINDS = {
    "t-shirt": _SLEEVES,
    "trousers": _SLEEVELESS,
    "pullover": _SLEEVES,
    "dress": _SLEEVELESS,
    "coat": _SLEEVES,
    "sandal": _FOOTWEAR,
    "shirt": _SLEEVES,
    "sneaker": _FOOTWEAR,
    "bag": _SLEEVELESS,
    "ankle boot": _FOOTWEAR,
}
"""Label -> what a vague caption calls it: three or four classes share a kind."""

TEMPLATES = (
    "{}",
    "a picture of {}",
    "a photo of {}",
    "an image of {}",
    "this is {}",
    "here is {}",
    "it shows {}",
    "one can see {}",
    "i am looking at {}",
    "someone sells {}",
)
"""All of them are in training."""

_CLASS_OF_NOUN = {
    re.sub("^(an?|a pair of) ", "", synonym): label for label, synonyms in SYNONYMS.items() for synonym in synonyms
}
_LONGEST_FIRST = "|".join(map(re.escape, sorted(_CLASS_OF_NOUN, key=len, reverse=True)))
_NOUN = re.compile(rf"(?<![\w-])({_LONGEST_FIRST})(?![\w-])")


def caption(label: str, choice: float, *, vague: bool = False) -> tuple[str, str]:
    """One of a class's captions, and its template.

    Args:
        label: One of ``LABELS``.
        choice: Which, from 0 to less than 1.
        vague: Whether it says the kind only.
    """
    pairs = list(product(TEMPLATES, [KINDS[label]] if vague else SYNONYMS[label]))
    template, what = pairs[int(choice * len(pairs))]
    return template.format(what), template


def class_of(caption: str) -> str | None:
    """The class that a caption names; None if it names none, or several.

    >>> class_of("here is a tee shirt"), class_of("a photo of a shirt"), class_of("a bag and a coat")
    ('t-shirt', 'shirt', None)
    """
    found = {_CLASS_OF_NOUN[noun] for noun in _NOUN.findall(caption.lower())}
    return found.pop() if len(found) == 1 else None
