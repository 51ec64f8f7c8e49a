"""The built-in data set ``moving``: its truth is exact in its pixels and in its captions, and pairs are held out."""

import gzip
import io
from collections import Counter, defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import polymodal as pm
from polymodal.data import moving
from polymodal.data.fashion import HELD_OUT_VOICES, LABELS
from polymodal.data.moving import MOTIONS, frames_of, is_held_out, motion_in, motion_of, told
from polymodal.data.moving.captions import caption
from polymodal.data.moving.rows import ROOM, plan

OFFICIAL = {name: np.tile(np.arange(10, dtype=np.uint8), count) for name, count in {"train": 300, "test": 60}.items()}
ROWS = plan(OFFICIAL, 1000, voices=2)


def blob(seed: int) -> np.ndarray:
    """A picture with a light thing in it, not in its middle."""
    pixels = np.zeros((28, 28), np.uint8)
    y, x, height, width = np.random.default_rng(seed).integers((0, 0, 6, 6), (12, 12, 16, 16))
    pixels[y : y + height, x : x + width] = np.random.default_rng(seed).integers(100, 256, (height, width))
    return pixels


@pytest.mark.parametrize("row", ROWS[::7], ids=lambda row: f"{row.split}-{row.place}")
def test_the_motion_is_in_the_pixels_and_the_caption(row):
    frames = frames_of(row, blob(row.place))
    assert frames.shape == (16, 64, 64)
    assert row.corners().min() >= 0
    assert row.corners().max() <= ROOM
    assert (frames > 0).sum((1, 2)).std() == 0, "it is whole in every frame"
    assert motion_of(frames) == row.motion
    assert told(row.caption) == (row.label, row.motion)


def test_what_does_not_move_so_is_not_called_so():
    straight = next(row for row in ROWS if row.motion == ("right",))
    frames = frames_of(straight, blob(1))
    assert motion_of(frames[::-1]) == ("left",)
    assert motion_of(frames.transpose(0, 2, 1)) == ("down",)
    assert motion_of(np.repeat(frames[:1], 16, 0)) is None
    assert motion_of(np.zeros_like(frames)) is None
    gone = frames.copy()
    gone[9] = 0
    assert motion_of(gone) is None
    aslant = np.stack([np.roll(frame, 2 * t, axis=0) for t, frame in enumerate(frames)])
    assert motion_of(aslant) is None
    shuffled = frames[np.random.default_rng(0).permutation(16)]
    assert motion_of(shuffled) != ("right",)


def test_what_bounces_touches_the_wall():
    bent = [row for row in ROWS if row.motion in (("right", "left"), ("down", "up"))]
    assert bent
    for row in bent:
        assert row.corners()[:, int(row.motion == ("down", "up"))].max() >= ROOM - 2


def test_pairs_are_held_out_of_training_and_each_of_their_halves_is_in_it():
    known = {(row.label, row.motion) for row in ROWS if row.split != "test"}
    new = {(label, motion) for label in LABELS for motion in MOTIONS if is_held_out(label, motion)}
    assert len(new) == 20
    assert not known & new
    assert known == {(label, motion) for label in LABELS for motion in MOTIONS} - new
    assert {motion for _, motion in known} == set(MOTIONS)
    test = [row for row in ROWS if row.split == "test"]
    assert all(((row.label, row.motion) in new) == (row.held_out == "pair") for row in test)
    assert 0.4 < sum(row.held_out == "pair" for row in test) / len(test) < 0.6
    assert {row.voice for row in test} == set(HELD_OUT_VOICES)
    assert {row.held_out for row in ROWS if row.split != "test"} == {None}


def test_captions_say_it_in_many_ways():
    ways = defaultdict(set)
    for motion in MOTIONS:
        for choice in np.linspace(0, 1, 200, endpoint=False):
            text, template = caption("ankle boot", motion, float(choice))
            assert told(text) == ("ankle boot", motion), text
            assert len(text) <= moving.FIELDS["caption"]["max_length"] - 1
            ways[motion].add(template)
    assert {motion: len(templates) for motion, templates in ways.items()} == {
        motion: 8 if set(motion) in ({"left", "right"}, {"up", "down"}) and len(motion) == 2 else 7
        for motion in MOTIONS
    }
    assert motion_in("a bag bounces off the left wall") == ("left", "right")
    assert motion_in("a pullover with buttons") is None
    assert motion_in("left, left, left") is None


def test_builds_with_other_options_agree():
    fewer = {(row.split, row.place): row for row in plan(OFFICIAL, 200, voices=2)}
    more = {(row.split, row.place): row for row in ROWS}
    assert Counter(split for split, _ in fewer)["train"] == 200
    assert all(more[key] == row for key, row in fewer.items())


def test_it_is_built_and_loaded(tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    for stem, count in {"train": 60, "t10k": 10}.items():
        labels = np.tile(np.arange(10, dtype=np.uint8), count // 10)
        for name, array in {"labels-idx1": labels, "images-idx3": np.stack([blob(i) for i in range(count)])}.items():
            head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
            (tmp_path / f"{stem}-{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    source = f"moving:train=10,voices=1,folder={tmp_path}"
    data = pm.load(source, cache=tmp_path / "cache")
    assert not data.rejected
    assert list(data.fields) == list(moving.FIELDS)
    row, table = data.test[0], pq.read_table(next((tmp_path / "cache/builtin").glob("moving-*")) / "rows.parquet")
    assert motion_of(row["video"].frames[..., 0]) == told(row["caption"])[1] == tuple(row["motion"].split("-"))
    np.testing.assert_array_equal(np.asarray(row["picture"]), row["video"].frames[0, ..., 0])
    assert 0.5 < row["speech"].seconds < 3
    assert Image.open(io.BytesIO(table["video"][0].as_py())).n_frames > 8
    with pytest.raises(pm.DataError, match="data set moving: train=5; at least 10"):
        pm.load("moving:train=5", cache=tmp_path / "cache")
