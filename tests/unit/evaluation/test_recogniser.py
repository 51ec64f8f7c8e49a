"""The recogniser, on speech that the data set's own voices say."""

import io
import subprocess
import sys

import numpy as np
import pytest

from polymodal.errors import ConfigError
from polymodal.evaluation.judges.recogniser import Recogniser, words_of
from polymodal.modalities.audio import Waveform

pytest.importorskip("pocketsphinx")
pytest.importorskip("espeakng_loader")

NAMES = ["umbrella", "hot dog", "telephone", "butterfly", "Résumé", "zqxv", "日本"]


def test_words_are_plain():
    assert words_of("Flag: Côte d’Ivoire") == ["flag", "cote", "d'ivoire"]
    assert words_of("1st place_medal!") == ["1st", "place", "medal"]
    assert words_of("…") == []


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(NAMES)


def speak(texts: list[str]) -> list[Waveform]:
    """In a process of its own, as the library is GPL and keeps global state."""
    code = (
        "import sys, numpy; from polymodal.data.voices import Espeak; e = Espeak(); e.use('gmw/en-US+m3');"
        "numpy.savez(sys.stdout.buffer, *[e(text) for text in sys.argv[1:]], rate=e.sample_rate_hz)"
    )
    out = subprocess.run([sys.executable, "-c", code, *texts], capture_output=True, check=True).stdout
    clips = np.load(io.BytesIO(out))
    return [Waveform(clips[f"arr_{i}"], int(clips["rate"])) for i in range(len(texts))]


def test_it_hears_names_at_any_rate_and_in_any_order(recogniser):
    said = ["umbrella", "hot dog", "telephone", "butterfly"]
    clips = speak(said)
    assert {clip.sample_rate_hz for clip in clips} != {16_000}
    heard = recogniser.recognise(clips)
    assert sum(a == b for a, b in zip(heard, said, strict=True)) >= 3
    assert recogniser.recognise(clips[::-1]) == heard[::-1]


def test_names_beyond_its_dictionary_are_left_out(recogniser):
    assert recogniser.left_out == ["zqxv", "日本"]
    assert recogniser.sayable["Résumé"] == "resume"
    with pytest.raises(ConfigError, match="none of the 1 names is in its English dictionary"):
        Recogniser(["zqxv"])


def test_no_name_is_heard_where_nothing_is_said(recogniser):
    nothing, noise = np.zeros(16_000), 0.1 * np.random.default_rng(1).normal(size=16_000)
    sounds = [Waveform(samples.astype(np.float32), 16_000) for samples in (nothing, nothing[:1600], nothing[:0], noise)]
    assert recogniser.recognise(sounds) == [None] * 4
