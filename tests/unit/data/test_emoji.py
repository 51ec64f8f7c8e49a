"""The built-in data set: what is in it, and that nothing held out leaks into training."""

import io
import json
from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")

from polymodal.data import emoji
from polymodal.data.emoji.concepts import choose, clean_name, load_concepts
from polymodal.data.emoji.rows import HELD_OUT_VOICES, NEURAL_VOICE, TRAINING_VOICES, plan
from polymodal.errors import DataError


@pytest.fixture(scope="module")
def concepts():
    return load_concepts(["zh", "de"])


@pytest.fixture(scope="module")
def plans(concepts):
    """The rows of the whole set and of the demo's subset."""
    return [plan(concepts, 6), plan(choose(concepts, 240), len(TRAINING_VOICES))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return emoji.build(tmp_path_factory.mktemp("sets"), concepts=10, voices=4, size=32, languages=["zh"])


def test_concepts_are_joined_and_named(concepts):
    plain = [concept for concept in concepts if concept.skin_tone == "none"]
    assert len(plain) > 1900
    assert len(concepts) > 3900
    assert len({concept.name for concept in plain}) == len(plain)
    assert not any(set(":_") & set(concept.name) for concept in plain)
    apple = next(concept for concept in plain if concept.name == "red apple")
    assert (apple.code, apple.names["zh"], apple.group) == ("1F34E", "红苹果", "Food & Drink")
    wave = next(concept for concept in concepts if concept.code == "1F44B-1F3FD")
    assert (wave.base, wave.skin_tone, wave.name) == ("1F44B", "medium", "waving hand")


def test_subset_is_short_plain_and_stable(concepts):
    names = {concept.name for concept in choose(concepts, 240)}
    assert {"red apple", "cat", "bicycle", "guitar"} <= names
    assert all(len(name) <= 20 and len(name.split()) <= 2 for name in names)
    assert {concept.name for concept in choose(concepts, 100)} < names
    assert clean_name(":red_apple:") == "red apple"


def test_nothing_held_out_is_in_training(plans):
    for rows in plans:
        seen = [row for row in rows if row.split != "test"]
        styles = {(row.concept.base, row.style) for row in seen}
        tones = {(row.concept.base, row.concept.skin_tone) for row in seen}
        voices = {row.voice for row in seen}
        by_reason = defaultdict(list)
        for row in rows:
            assert (row.split == "test") == (row.held_out is not None)
            by_reason[row.held_out].append(row)
        assert all((row.concept.base, row.style) not in styles for row in by_reason["style"])
        assert all((row.concept.base, row.concept.skin_tone) not in tones for row in by_reason["tone"])
        assert {row.voice for row in by_reason["voice"]} == set(HELD_OUT_VOICES)
        assert voices - {None} == set(TRAINING_VOICES)


def test_a_test_row_is_new_in_one_way_only(plans):
    for rows in plans:
        train = [row for row in rows if row.split == "train"]
        styles = {(row.concept.base, row.style) for row in train}
        bases = {row.concept.base for row in train}
        tones = {row.concept.skin_tone for row in train}
        for row in rows:
            if row.held_out == "style":
                other = {"openmoji": "twemoji", "twemoji": "openmoji"}[row.style]
                assert (row.concept.base, other) in styles
                assert row.voice in {NEURAL_VOICE, None}
            elif row.held_out == "tone":
                assert row.concept.base in bases
                assert row.concept.skin_tone in tones
            elif row.held_out == "voice" or row.split == "validation":
                assert (row.concept.base, row.style) in styles


def test_shares_are_as_said(plans):
    whole, subset = plans
    held_styles = {row.concept.base for row in whole if row.held_out == "style"}
    held_tones = {row.concept.code for row in whole if row.held_out == "tone"}
    toned = {row.concept.code for row in whole if row.concept.skin_tone != "none"}
    assert 0.07 < len(held_styles) / 1923 < 0.13
    assert 0.05 < len(held_tones) / len(toned) < 0.13
    assert 15 <= sum(row.held_out == "style" for row in subset) <= 35
    for rows in plans:
        assert 0.01 < sum(row.split == "validation" for row in rows) / len(rows) < 0.06
        drawn = {(row.concept.code, row.style) for row in rows}
        assert len(drawn) == 2 * len({row.concept.code for row in rows})


def test_built_rows_open(folder):
    rows = pq.read_table(folder / "rows.parquet").to_pylist()
    assert len(rows) >= 10 * (4 + len(HELD_OUT_VOICES))
    assert len({row["concept"] for row in rows}) == 10
    for row in rows[::7]:
        assert Image.open(io.BytesIO(row["picture"])).size == (32, 32)
        samples, rate = soundfile.read(io.BytesIO(row["speech"]))
        assert rate == 16_000
        assert 0.2 < len(samples) / rate < 1.6
        assert 0.02 < np.sqrt(np.mean(samples**2)) < 0.1
        assert row["name"]
        assert row["name_zh"]
    assert len({row["speech"] for row in rows}) > 50
    credits = json.loads((folder / "credits.json").read_text())
    assert {entry["package"] for entry in credits["packages"]} == set(emoji.CREDITS)


def test_a_finished_set_is_reused_and_leaves_nothing_behind(folder):
    before = (folder / "rows.parquet").stat().st_mtime_ns
    again = emoji.build(folder.parent, concepts=10, voices=4, size=32, languages=["zh"])
    assert again == folder
    assert (folder / "rows.parquet").stat().st_mtime_ns == before
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concepts": 0}, "concepts=0; from 1 to 1923"),
        ({"concepts": 5000}, "concepts=5000"),
        ({"voices": 40}, "voices=40; from 4 to 12"),
        ({"languages": ["xx"]}, "languages=xx; known: ar, de"),
        ({"size": 2}, "size=2"),
        ({"workers": 0}, "workers=0"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        emoji.build(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
