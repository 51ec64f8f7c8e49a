"""Text on contact sheets: every letter is drawn, or counted where no font has it."""

import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageDraw

from polymodal.data import lettering
from polymodal.data.lettering import Lettering, readable

SIZE = 12
MISSING = "\ufdd0"
"""A code that is no letter's."""


def drawn(text):
    picture = Image.new("RGB", (200, 20), "white")
    Lettering(SIZE).draw(ImageDraw.Draw(picture), (2, 2), text)
    return np.asarray(picture)


@pytest.mark.parametrize("text", ["pomme brûlée", "苹果", "Привет", "กล้วย", "🍎", "שלום"])
def test_no_letter_is_a_box(text):
    told = readable(text, SIZE)
    if told == text:  # a font is installed: no letter looks like another that has none
        assert not any(
            (drawn(letter) == drawn(MISSING)).all() for letter in text if unicodedata.category(letter) != "Mn"
        )
    else:
        assert told.isascii() or "<" in told
        assert f"{len(text)} " in told or "e" in told


def test_without_any_font_letters_are_counted(monkeypatch):
    monkeypatch.setattr(lettering, "_USUAL", ())
    monkeypatch.setattr(lettering.shutil, "which", lambda name: None)
    for kept in (lettering._fonts, lettering._font_of):
        kept.cache_clear()
    try:
        assert readable("abc 苹果 d", SIZE) == "abc <2 CJK letters> d"
        assert readable("\U0001f34e", SIZE) == "<1 symbol>"
        assert drawn(readable("苹果", SIZE)).min() < 100
    finally:
        for kept in (lettering._fonts, lettering._font_of):
            kept.cache_clear()


def test_letters_that_are_composed_otherwise_are_the_same():
    assert readable("cafe\u0301", SIZE) == readable("caf\u00e9", SIZE)


@pytest.mark.parametrize("text", ["a few words and more of them", "one-word-that-is-longer-than-the-line " * 2])
def test_lines_are_no_longer_than_they_may_be(text):
    letters = Lettering(SIZE)
    lines = letters.wrap(text, 90, 9)
    assert len(lines) > 2
    assert max(map(letters.length, lines)) <= 90
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert letters.wrap(text, 90, 2) == lines[:2]
