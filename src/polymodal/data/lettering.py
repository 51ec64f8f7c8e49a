"""Text drawn on a picture, in any script for which a font is installed; of any other, a label says what is missing."""

import shutil
import subprocess
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from PIL import ImageDraw, ImageFont

_USUAL = (
    "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "arial.ttf", "Helvetica.ttc",
    "NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "Arial Unicode.ttf",
)  # fmt: skip
"""Fonts of Linux, macOS and Windows, which Pillow finds by name."""

_IN_NO_FONT = ("\uffff", "\ufdd0", "\U0010fffd")

Font = Any
"""What ``ImageFont.truetype`` gives."""


class Lettering:
    """Draws lines of text, each letter in the first font that has it.

    Args:
        size: Height of the letters, in pixels.
    """

    def __init__(self, size: int):
        self.size = size

    def wrap(self, text: str, width: int, most: int) -> list[str]:
        """At most so many lines of at most ``width`` pixels, broken between words, and within them where need be."""
        lines, line = [], ""
        for word in readable(text, self.size).split():
            while word:
                longer = f"{line} {word}" if line else word
                if self.length(longer) <= width:
                    line, word = longer, ""
                elif self.length(word) > width and (fits := self._fitting(f"{line} " if line else "", word, width)):
                    lines.append(f"{line} {word[:fits]}".strip())
                    line, word = "", word[fits:]
                else:
                    lines.append(line)
                    line = ""
        return [*lines, line][:most]

    def _fitting(self, before: str, word: str, width: int) -> int:
        """How many letters of a word fit behind what is in the line; at least one in an empty line."""
        lengths = (self.length(before + word[: count + 1]) for count in range(len(word)))
        return max(sum(length <= width for length in lengths), 0 if before else 1)

    def length(self, text: str) -> float:
        """Pixels that a text takes in a line."""
        return sum(font.getlength(part) for font, part in _parts(text, self.size))

    def draw(self, draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, fill: str = "black") -> None:
        """Draws one line, whose letters stand on a line that is ``size`` pixels below its place."""
        left, top = place
        for font, part in _parts(text, self.size):
            draw.text((left, top + self.size), part, fill=fill, font=font, anchor="ls")
            left += round(font.getlength(part))


def readable(text: str, size: int) -> str:
    """A text whose letters can all be drawn: letters of scripts without a font are counted, such as <2 CJK letters>."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    parts = []
    for missing, letters in groupby(_letters(text), lambda letter: _font_of(letter, size) is None):
        part = "".join(letters)
        if missing:
            scripts = dict.fromkeys(unicodedata.name(letter, "?").split()[0] for letter in part if letter.isalpha())
            what = f"{'/'.join([*scripts][:2])} letter" if scripts else "symbol"
            part = f"<{len(part)} {what}{'s' * (len(part) > 1)}>"
        parts.append(part)
    return "".join(parts)


def _letters(text: str) -> Iterator[str]:
    """Letters, each with the marks above and below it."""
    letter = ""
    for character in text:
        if letter and unicodedata.category(character)[0] != "M":
            yield letter
            letter = ""
        letter += character
    if letter:
        yield letter


def _parts(text: str, size: int) -> Iterator[tuple[Font, str]]:
    """A text, cut where the font changes; one font for all of it if there is one."""
    whole = next((font for font in _fonts(size) if all(_has(font, letter) for letter in _letters(text))), None)
    if whole is not None:
        yield whole, text
        return
    for font, letters in groupby(_letters(text), lambda letter: _font_of(letter, size) or _fonts(size)[0]):
        yield font, "".join(letters)


@cache
def _font_of(letter: str, size: int) -> Font | None:
    """The first font that has a letter, or an installed one that ``fc-list`` knows; None if there is none."""
    installed = (_open(path, size) for path in _installed(letter))
    return next((font for font in (*_fonts(size), *installed) if font is not None and _has(font, letter)), None)


@cache
def _fonts(size: int) -> Sequence[Font]:
    """The usual fonts that are installed, then Pillow's own, which has the Latin letters without accents."""
    found = [_open(name, size) for name in _USUAL]
    return [font for font in (*found, ImageFont.load_default(size)) if font is not None]


@cache
def _open(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _installed(letter: str) -> list[str]:
    """Files of fonts that have a letter, where fontconfig can tell; those that come in files for scaling first."""
    if any(_has_usual(letter)) or shutil.which("fc-list") is None:
        return []
    command = ["fc-list", f":charset={ord(letter[0]):x}:scalable=true", "--format", "%{file}\n"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return sorted(set(done.stdout.splitlines()))[:4]


def _has_usual(letter: str) -> Iterator[bool]:
    return (_has(font, letter) for font in _fonts(12))


@cache
def _has(font: Font, letter: str) -> bool:
    """Whether a font has a letter: one that it lacks is drawn as the box, or the nothing, of what no font has."""
    if letter.isspace():
        return True
    mask, *without = (font.getmask(text) for text in (letter[0], *_IN_NO_FONT))
    return all(mask.size != none.size or bytes(mask) != bytes(none) for none in without)
