"""Recognisers by language: what a recogniser cannot hear is left out, and said."""

import pytest

from polymodal.evaluation.judges import recogniser
from polymodal.evaluation.judges.language import guess_language
from polymodal.evaluation.judges.recogniser import choose_recogniser

ENGLISH = ["red apple", "blue car", "a dog on the table", "green tree", "the moon"]
TEXTS = {
    "fr": ["un petit rond rouge dessiné à la main", "voici un carré vert qui est très grand", "le chat et la souris"],
    "de": ["ein kleiner roter Kreis", "das ist ein grünes Quadrat", "die Katze und der Hund"],
    "es": ["un círculo rojo en la mesa", "este es el gato de la casa", "una manzana muy roja"],
    "CJK": ["苹果", "红色的汽车"],
    "Cyrillic": ["красное яблоко", "синяя машина"],
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_language_is_guessed_by_script_and_common_words(language):
    assert guess_language(TEXTS[language]) == language
    listener, note = choose_recogniser(TEXTS[language])
    assert listener is None
    assert note.count("\n") == 0
    assert "which hears English: the names seem to be" in note
    assert "fields.NAME.language" in note


def test_short_names_do_not_tell():
    assert guess_language(["apple", "chien", "Haus"]) is None
    assert guess_language([]) is None


def test_the_dictionary_tells_where_common_words_do_not():
    pytest.importorskip("pocketsphinx")
    listener, note = choose_recogniser(["pomme", "voiture bleue", "chaise", "étagère", "canapé", "croissant", "maison"])
    assert listener is None
    assert "of the words in the names, which seem to be of another language" in note
    listener, note = choose_recogniser(ENGLISH)
    assert set(listener.sayable) == set(ENGLISH)
    assert note == ""


def test_what_is_stated_is_believed():
    pytest.importorskip("pocketsphinx")
    listener, _ = choose_recogniser(["un chien", "la table", "le chat", "une maison"], "en")
    assert "la table" in listener.sayable
    listener, note = choose_recogniser(ENGLISH, "nl")
    assert listener is None
    assert "the names are Dutch." in note


def test_hearing_tells_how_far_it_is(monkeypatch):
    pytest.importorskip("pocketsphinx")
    listener, told = choose_recogniser(ENGLISH)[0], []
    monkeypatch.setattr(listener, "_hear", lambda waveform: None)
    listener.recognise([None] * 3, told.append)
    assert told[-1] == "pocketsphinx hears 3 of 3"
    monkeypatch.setattr(recogniser, "available", lambda: False)
    assert choose_recogniser(ENGLISH) == (None, "Speech is not scored by pocketsphinx: the package is not installed.")
