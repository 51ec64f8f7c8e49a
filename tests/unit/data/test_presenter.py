"""The built-in data set ``presenter``: the mouth follows the phonemes, in the face's pixels and in the series."""

import io

import numpy as np
import pytest
import soundfile

import polymodal as pm
from polymodal.data.fashion import HELD_OUT_VOICES, TRAINING_VOICES
from polymodal.data.presenter import FIELDS, opening_of
from polymodal.data.presenter.cells import present
from polymodal.data.presenter.faces import SIDE, draw
from polymodal.data.presenter.rows import plan
from polymodal.data.presenter.sentences import NUMBERS, PLACES, TEMPLATES, TIMES, sentences
from polymodal.data.presenter.visemes import RATE_HZ, VISEMES, movement
from polymodal.data.voices import VOICES, Espeak, Phoneme, Utterance
from polymodal.modalities import Video

ROWS = plan(300, test=60, voices=4)


def test_the_opening_is_in_the_pixels():
    openings, widths = np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, 1, 5))
    shapes = np.stack([openings.ravel(), widths.ravel()], axis=1)
    frames = draw(shapes)
    assert frames.shape == (55, SIDE, SIDE, 3)
    np.testing.assert_allclose(opening_of(frames), shapes[:, 0], atol=0.03)
    still = (frames == frames[:1]).all((0, 3))
    assert still[: SIDE // 2].all(), "only the mouth moves"
    widest = draw(np.array([[0.5, 0.0], [0.5, 1.0]]))
    assert (widest[1] != widest[0]).any(), "a mouth that is spread is wider"


def test_visemes_follow_phonemes_in_time():
    said = [Phoneme("p", 0.5), Phoneme("ˈɑː", 0.7), Phoneme("m", 1.0), Phoneme("", 1.2)]
    opening = movement(said, begin=0.5, seconds=0.72)[:, 0]
    assert len(opening) == round(0.72 * RATE_HZ)
    assert opening.argmax() == int((0.85 - 0.5) * RATE_HZ)
    assert 0.9 < opening.max() < 1
    assert opening[[0, -1]].max() < 0.1
    glide = movement([Phoneme("aɪ", 0.0), Phoneme("", 0.8)], begin=0.0, seconds=0.8)
    assert glide[2, 0] > glide[6, 0], "both halves of a diphthong are seen"
    assert glide[2, 1] < glide[6, 1]
    np.testing.assert_allclose(movement([], begin=0.0, seconds=0.4), [[0, 0.5]] * 5)


def test_every_phoneme_of_the_grammar_has_a_viseme():
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    espeak = Espeak()
    templates = [template.format(place="", number="", time="") for template in TEMPLATES]
    words = ", ".join([*PLACES, *NUMBERS[:17], *TIMES[::12], *templates])
    for accent in {voice.partition("+")[0] for voice, _ in VOICES.values() if voice}:
        espeak.use(accent)
        _, phonemes = espeak.say(words)
        letters = {letter for phoneme in phonemes for letter in phoneme.letters}
        assert len(letters) > 20
        assert letters - set("ˈˌː") <= set(VISEMES), accent


def test_face_mouth_and_speech_are_of_one_length_and_in_step():
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    cells = dict(present([Utterance("a", "it is ten to ten in Rome", *VOICES["us-f2"])]))
    speech, rate = soundfile.read(io.BytesIO(cells["speech/a"]))
    mouth = np.load(io.BytesIO(cells["mouth/a"]))
    face = Video(**{name: value for name, value in FIELDS["face"].items() if name != "modality"}).read(cells["face/a"])
    assert abs(len(speech) / rate - len(mouth) / RATE_HZ) <= 0.5 / RATE_HZ
    np.testing.assert_allclose(opening_of(face.transpose(0, 2, 3, 1)), mouth[:, 0], atol=0.03)
    loudness = [np.sqrt(np.square(part).mean()) for part in np.array_split(speech, len(mouth))]
    in_step = np.corrcoef(loudness, mouth[:, 0])[0, 1]
    later = np.corrcoef(loudness[:-2], mouth[2:, 0])[0, 1]
    assert in_step > max(0.3, later + 0.2), "open mouths are loud"


def test_sentences_and_voices_are_held_out():
    assert len(set(sentences())) == len(sentences())
    assert max(map(len, sentences())) < FIELDS["text"]["max_length"]
    assert len({row.text for row in ROWS}) == len(ROWS)
    voices = {split: {row.voice for row in ROWS if row.split == split} for split in ("train", "test")}
    assert voices == {"train": set(TRAINING_VOICES[:4]), "test": set(HELD_OUT_VOICES)}
    assert {row.held_out for row in ROWS if row.split == "test"} == {"voice"}
    fewer = plan(30, test=60, voices=4)
    assert [row for row in ROWS if row.split != "train"] == [row for row in fewer if row.split != "train"]
    assert fewer[:30] == ROWS[:30]


def test_it_is_built_and_loaded(tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    data = pm.load("presenter:train=12,test=4,voices=2", cache=tmp_path)
    assert not data.rejected
    assert not data.bad_cells
    assert list(data.fields) == list(FIELDS)
    for row in data.train:
        faceless = row["voice"] == "heart"
        assert (row["face"] is None) == (row["mouth"] is None) == faceless
        if not faceless:
            np.testing.assert_allclose(opening_of(row["face"].frames), row["mouth"].values[:, 0], atol=0.03)
    assert {row["voice"] for row in data.train} == {"heart", "us-f2"}
    with pytest.raises(pm.DataError, match="data set presenter: voices=1; from 2 to 10"):
        pm.load("presenter:voices=1", cache=tmp_path)
