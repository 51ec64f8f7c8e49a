"""The built-in data set ``fashion``, from small files in the official format: the real ones are not needed."""

import gzip
import io
import json
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

import polymodal as pm
from polymodal.data import fashion
from polymodal.data.fashion import KINDS, LABELS, NAMES, SYNONYMS, TEMPLATES, class_of, pictures
from polymodal.data.fashion.rows import HELD_OUT_VOICES, TAKES, TRAINING_VOICES, choose, plan, utterances
from polymodal.errors import DataError

VOICES = 3
PER_CLASS = {"train": 30, "t10k": 6}
OFFICIAL = {name: np.tile(np.arange(10, dtype=np.uint8), count) for name, count in {"train": 600, "test": 100}.items()}


def write_idx(path, array):
    data = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_set(folder, *, suffix="", seed=0):
    """Pictures of noise whose first pixel is the label."""
    random = np.random.default_rng(seed)
    for stem, count in PER_CLASS.items():
        labels = random.permutation(np.repeat(np.arange(10, dtype=np.uint8), count))
        pixels = random.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        pixels[:, 0, 0] = labels
        write_idx(folder / f"{stem}-images-idx3-ubyte{suffix}", pixels)
        write_idx(folder / f"{stem}-labels-idx1-ubyte{suffix}", labels)
    return folder


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("idx"), suffix=".gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, originals):
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    return fashion.build(tmp_path_factory.mktemp("cache") / "builtin", train=50, voices=VOICES, folder=str(originals))


@pytest.fixture(scope="module")
def rows(folder):
    return pq.read_table(folder / "rows.parquet").to_pylist()


class TestCaptions:
    def test_every_caption_says_its_class(self):
        assert tuple(NAMES) == tuple(SYNONYMS) == LABELS
        assert len(TEMPLATES) >= 8
        for label, template in product(LABELS, TEMPLATES):
            for synonym in SYNONYMS[label]:
                assert class_of(template.format(synonym)) == label

    def test_names_say_their_class(self):
        assert {class_of(name): label for label, name in NAMES.items()} == {label: label for label in LABELS}

    def test_what_names_no_class_or_two_has_none(self):
        assert class_of("a picture of a") is None
        assert class_of("a bag and a coat") is None
        assert class_of("bagged shirts") is None
        assert class_of("This is A TEE SHIRT.") == "t-shirt"

    def test_a_vague_caption_leaves_doubt(self):
        assert tuple(KINDS) == LABELS
        assert min(Counter(KINDS.values()).values()) > 1
        assert {class_of(template.format(kind)) for template, kind in product(TEMPLATES, KINDS.values())} == {None}

    def test_all_fit_their_fields(self):
        said = (
            *product(TEMPLATES, KINDS.values()),
            *((t, s) for t in TEMPLATES for many in SYNONYMS.values() for s in many),
        )
        longest = max(len(template.format(what)) for template, what in said)
        assert longest < fashion.FIELDS["caption"]["max_length"]
        assert max(map(len, NAMES.values())) < fashion.FIELDS["name"]["max_length"]


class TestPlan:
    @pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
    def test_so_many_captions_are_vague_and_nothing_else_changes(self, share):
        rows = plan(OFFICIAL, None, VOICES, share)
        assert sum(class_of(row.caption) is None for row in rows) / len(rows) == pytest.approx(share, abs=0.02)
        assert all(KINDS[row.label] in row.caption for row in rows if class_of(row.caption) is None)
        clear = [replace(row, caption="", template="") for row in plan(OFFICIAL, None, VOICES)]
        assert [replace(row, caption="", template="") for row in rows] == clear

    def test_voices_of_test_rows_are_heard_nowhere_else(self):
        rows = plan(OFFICIAL, None, len(TRAINING_VOICES))
        assert len(TRAINING_VOICES) >= 9
        assert len(HELD_OUT_VOICES) >= 2
        assert {row.voice for row in rows if row.split == "test"} == set(HELD_OUT_VOICES)
        assert {row.voice for row in rows if row.split != "test"} == set(TRAINING_VOICES)
        assert not set(TRAINING_VOICES) & set(HELD_OUT_VOICES)

    def test_every_class_is_said_in_every_voice_and_take_and_captioned_in_every_way(self):
        rows = [row for row in plan(OFFICIAL, None, 4) if row.split == "train"]
        assert len({row.clip for row in rows}) == 10 * 4 * len(TAKES)
        assert len({(row.label, row.caption) for row in rows}) == 10 * len(TEMPLATES) * 3
        said = list(utterances(rows))
        assert len({(one.text, *one.manner, one.seed) for one in said}) == len(said) == 10 * 4 * len(TAKES)

    def test_rows_are_balanced_and_larger_builds_hold_smaller_ones(self):
        labels = OFFICIAL["train"]
        everything, validation = choose(labels, None)
        assert Counter(labels[list(validation)].tolist()) == dict.fromkeys(range(10), 20)
        assert everything == list(range(6000))
        fewer, of_fewer = choose(labels, 500)
        more, _ = choose(labels, 504)
        assert of_fewer == validation
        assert set(fewer) < set(more)
        assert Counter(labels[sorted(set(fewer) - validation)].tolist()) == dict.fromkeys(range(10), 50)
        assert max(Counter(labels[sorted(set(more) - validation)].tolist()).values()) == 51
        smaller = {(row.split, row.place): row for row in plan(OFFICIAL, 500, 4)}
        larger = {(row.split, row.place): row for row in plan(OFFICIAL, 1000, 4)}
        assert all(larger[key] == row for key, row in smaller.items())


class TestBuild:
    def test_cells_are_what_they_should_be(self, rows):
        assert Counter(row["split"] for row in rows) == {"train": 50, "validation": 10, "test": 60}
        for row in rows:
            picture = Image.open(io.BytesIO(row["picture"]))
            assert (picture.size, picture.mode) == ((28, 28), "L")
            assert LABELS[picture.getpixel((0, 0))] == row["label"] == class_of(row["caption"])
            assert row["name"] == NAMES[row["label"]]
            assert row["template"] in TEMPLATES
            assert row["held_out"] == ("voice" if row["split"] == "test" else None)
            assert row["voice"] in (HELD_OUT_VOICES if row["split"] == "test" else TRAINING_VOICES[:VOICES])
        for row in rows[::9]:
            samples, rate = soundfile.read(io.BytesIO(row["speech"]))
            assert rate == 16_000
            assert 0.2 < len(samples) / rate <= fashion.FIELDS["speech"]["max_seconds"]
            assert 0.02 < np.sqrt(np.mean(samples**2)) < 0.1

    def test_clips_of_one_name_in_one_voice_differ(self, rows):
        clips = {}
        for row in rows:
            clips.setdefault((row["label"], row["voice"]), set()).add(row["speech"])
        assert max(map(len, clips.values())) >= 3

    def test_credits(self, folder):
        credits = json.loads((folder / "credits.json").read_text())
        assert "Zalando" in credits["pictures"]
        assert {entry["package"] for entry in credits["packages"]} == set(fashion.CREDITS)

    def test_it_loads_with_its_own_fields(self, folder, originals):
        data = pm.load(
            f"fashion:train=50,voices={VOICES},folder={originals}", fashion.FIELDS, cache=folder.parent.parent
        )
        assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 50, "validation": 10, "test": 60}
        assert data.rejected == []
        assert data.fields["picture"].space.shape == (1, 28, 28)
        assert set(data.fields["label"].names) == set(LABELS)

    def test_a_finished_set_is_reused_for_the_same_content_wherever_it_lies(self, folder, tmp_path):
        before = (folder / "rows.parquet").stat().st_mtime_ns
        plain = write_set(tmp_path)  # the same, not compressed
        assert fashion.build(folder.parent, train=50, voices=VOICES, folder=str(plain)) == folder
        assert (folder / "rows.parquet").stat().st_mtime_ns == before
        assert [path.name for path in folder.parent.glob("*fashion-*")] == [folder.name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voices": 0}, "voices=0; from 1 to"),
        ({"vague": 1.5}, "vague=1.5; from 0 to 1"),
        ({"voices": 40}, f"voices=40; from 1 to {len(TRAINING_VOICES)}"),
        ({"train": 9}, "train=9; at least 10, one of each class"),
        ({"train": 291}, "train=291; from 10 to 290"),
        ({"folder": "nowhere"}, "nowhere: neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz is there"),
    ],
)
def test_wrong_options_are_refused(tmp_path, originals, options, message):
    with pytest.raises(DataError, match=message):
        fashion.build(tmp_path, **{"folder": str(originals), **options})
    assert list(tmp_path.iterdir()) == []


class TestBrokenFiles:
    def test_a_file_cut_short(self, tmp_path):
        path = write_set(tmp_path) / "t10k-images-idx3-ubyte"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DataError, match="t10k-images-idx3-ubyte: is no whole IDX file of bytes in 3 dimensions"):
            pictures.read_folder(tmp_path)

    def test_a_compressed_file_cut_short(self, tmp_path):
        path = write_set(tmp_path, suffix=".gz") / "train-labels-idx1-ubyte.gz"
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz: cannot be read"):
            pictures.read_folder(tmp_path)

    def test_labels_of_something_else(self, tmp_path):
        write_set(tmp_path)
        write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(299, np.uint8))
        with pytest.raises(DataError, match="train has 300 pictures and 299 labels"):
            pictures.read_folder(tmp_path)
        write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(300, np.uint8))
        with pytest.raises(DataError, match="must hold every label from 0 to 9 and no other"):
            pictures.read_folder(tmp_path)

    def test_pictures_of_another_size(self, tmp_path):
        write_set(tmp_path)
        write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((300, 32, 32), np.uint8))
        with pytest.raises(DataError, match=r"pictures of \(32, 32\) pixels, not \(28, 28\)"):
            pictures.read_folder(tmp_path)


def test_without_pictures_all_three_ways_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "DEBIAN_FOLDER", tmp_path / "none")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"fashion:folder=FOLDER.*apt-get install dataset-fashion-mnist.*the hub"):
        pictures.find(None, tmp_path)
