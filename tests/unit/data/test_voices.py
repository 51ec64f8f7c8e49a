"""Voices: what is said is the same in every build, trimmed and of one loudness."""

import io

import numpy as np
import pytest
import soundfile

from polymodal.data.build_dataset import make_cells
from polymodal.data.voices import SAMPLE_RATE_HZ, VOICES, Utterance, tidy
from polymodal.errors import DataError

WORKER = "polymodal.data.voices"


def test_what_is_said_is_the_same_again(tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    breathy, neural = VOICES["us-f5"], VOICES["heart"]
    said = [
        Utterance("a", "sandal", *breathy),
        Utterance("b", "coat", *breathy),
        Utterance("quick", "coat", *breathy, words_per_minute=180),
        Utterance("c", "coat", *neural),
        Utterance("quick c", "coat", *neural, words_per_minute=180),
        Utterance("seed c", "coat", *neural, seed=1),
    ]
    again = [one._replace(key=f"again {one.key}") for one in said]
    cells = make_cells("test", WORKER, [said, again], tmp_path)
    clips = {one.key: cells[one.key] for one in said}
    assert len(cells) == 2 * len(clips)
    assert all(cells[f"again {key}"] == clip for key, clip in clips.items())
    assert len(set(clips.values())) == len(clips)
    seconds = {key: soundfile.info(io.BytesIO(clip)).duration for key, clip in clips.items()}
    assert seconds["quick"] < 0.9 * seconds["b"]
    assert seconds["quick c"] < 0.9 * seconds["c"]


def test_a_worker_that_fails_is_told(tmp_path):
    with pytest.raises(DataError, match=r"(?s)data set test: a worker failed with status 1: .*Utterance"):
        make_cells("test", WORKER, [[["too", "few"]]], tmp_path)


def test_speech_is_trimmed_and_levelled():
    rate = 22_050
    speech = 0.01 * np.sin(np.arange(rate // 2) * 0.1).astype(np.float32)
    silence = np.zeros(rate, np.float32)
    tidied = tidy(np.concatenate([silence, speech, silence]), rate)
    assert 0.5 <= len(tidied) / SAMPLE_RATE_HZ <= 0.57
    assert np.sqrt(np.mean(tidied**2)) == pytest.approx(0.08, rel=0.01)
    assert len(tidy(silence, rate)) == 0
    assert len(tidy(np.zeros(0, np.float32), rate)) == 0
