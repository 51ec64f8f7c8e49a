"""What clips of ``moving`` show, and captions that say it in many ways.

A motion is one direction, or two one after the other: ``("right",)``, ``("right", "up")``.
"""

import re
from itertools import product

from polymodal.data.fashion.captions import SYNONYMS, class_of

Motion = tuple[str, ...]

DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
"""Name -> (x, y), y growing downwards, as in pictures."""

MOTIONS: tuple[Motion, ...] = (
    *((one,) for one in DIRECTIONS),
    *((one, other) for one, other in product(DIRECTIONS, DIRECTIONS) if one != other),
)
"""All sixteen."""

OPPOSITE = {"right": "left", "left": "right", "up": "down", "down": "up"}
_WALLS = {"right": "right", "left": "left", "up": "top", "down": "bottom"}

TEMPLATES = (
    "{what} moves {how}",
    "{what} goes {how}",
    "{what} is sliding {how}",
    "a film of {what} that moves {how}",
    "here {what} flies {how}",
    "one can see {what} going {how}",
    "{what}, which moves {how}",
)
_JOINTS = ("{}, then {}", "{} and then {}", "first {}, then {}")
_BOUNCE = "{what} bounces off the {wall} wall"

_WORD = re.compile(r"\b(right|left|up|down)\b")
_BOUNCED = re.compile(r"\boff the (right|left|top|bottom) wall\b")


def caption(label: str, motion: Motion, choice: float) -> tuple[str, str]:
    """One of the captions of a class and a motion, and its template.

    Args:
        label: One of fashion's ``LABELS``.
        motion: One of ``MOTIONS``.
        choice: Which, from 0 to less than 1.
    """
    ways = _ways(motion)
    nouns = [noun for noun in SYNONYMS[label] if noun.startswith(("a ", "an "))]
    pairs = list(product(ways, nouns))
    (template, how), what = pairs[int(choice * len(pairs))]
    return template.format(what=what, how=how, wall=how), template


def _ways(motion: Motion) -> list[tuple[str, str]]:
    """Templates, each with what stands for the motion."""
    if len(motion) == 1:
        return [(template, motion[0]) for template in TEMPLATES]
    ways = [(template, joint.format(*motion)) for template in TEMPLATES for joint in _JOINTS]
    if motion[1] == OPPOSITE[motion[0]]:
        ways += [(_BOUNCE, _WALLS[motion[0]])] * len(TEMPLATES)  # as often as each joint
    return ways


def motion_in(caption: str) -> Motion | None:
    """The motion that a caption tells; None if it tells none.

    >>> motion_in("a trainer goes right and then up"), motion_in("a coat bounces off the top wall"), motion_in("a bag")
    (('right', 'up'), ('up', 'down'), None)
    """
    if bounced := _BOUNCED.search(caption.lower()):
        first = next(direction for direction, wall in _WALLS.items() if wall == bounced[1])
        return first, OPPOSITE[first]
    found = tuple(_WORD.findall(caption.lower()))
    return found if found in MOTIONS else None


def told(caption: str) -> tuple[str | None, Motion | None]:
    """The class and the motion that a caption tells, None for what it does not."""
    return class_of(caption), motion_in(caption)
