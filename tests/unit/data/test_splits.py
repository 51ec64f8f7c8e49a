"""Splits: rows that share what tells them apart stay together, and what is shared all the same is told."""

import numpy as np
import pytest
from PIL import Image

from polymodal.data import connected, inspect, load, overlap, overlap_notes
from polymodal.data.splits import assign_splits, group_keys

FIELDS = {"picture": {"modality": "image", "size": 8}, "caption": {"modality": "text", "max_length": 128}}


def picture(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def rows():
    return [
        {"picture": picture(number), "caption": f"{number}, told {told}"} for number in range(400) for told in "abcde"
    ]


def splits_of(data, name):
    return {split: set(rows.columns[name].slots.tolist()) for split, rows in data.splits.items()}


def test_no_picture_is_in_two_splits(rows):
    data = load(rows, FIELDS, validation=0.1, test=0.2)
    kept = splits_of(data, "picture")
    assert sum(map(len, kept.values())) == 400
    assert len(data.test) == 5 * len(kept["test"])
    assert 40 < len(kept["test"]) < 120
    assert {name: share["picture"] for name, share in inspect(data).overlap.items()} == {"validation": 0, "test": 0}
    assert overlap_notes(data.test, data.train) == []


def test_it_can_be_turned_off_and_is_then_told(rows):
    data = load(rows, FIELDS, validation=0.1, test=0.2, group=False)
    assert overlap(data.test, data.train)["picture"] > 0.9
    (note,) = overlap_notes(data.test, data.train)
    assert note.startswith("picture: 98% of the rows")
    assert data.settings["group"] is False
    assert "picture" in str(inspect(data).overlap)


def test_values_of_another_data_set_are_known_by_their_content(rows):
    one = load(rows[:50], FIELDS, validation=0, test=0).train
    other = load([{"picture": picture(3), "caption": "new"}, {"picture": picture(900), "caption": "newer"}], FIELDS,
                 validation=0, test=0).train  # fmt: skip
    assert overlap(other, one) == {"picture": 0.5, "caption": 0.0}


def test_long_texts_tell_rows_and_short_ones_do_not():
    fields = {"first": {"modality": "text", "max_length": 256}, "second": {"modality": "text", "max_length": 16}}
    long = [f"{number} is the number of a text that is long enough to tell which row it is of" for number in range(100)]
    rows = [{"first": long[number % 100], "second": f"name {number % 7}"} for number in range(300)]
    data = load(rows, fields, validation=0.1, test=0.2)
    assert sum(map(len, splits_of(data, "first").values())) == 100
    assert len(splits_of(data, "second")["test"] & splits_of(data, "second")["train"]) == 7


def test_what_chains_meet_is_one_group():
    assert connected([np.array([0, 0, 1, -1, 3]), np.array([5, 4, 4, 6, -1])], 5).tolist() == [0, 0, 0, 1, 2]
    keys = group_keys([b"a", b"b", b"c", b"d", b"e", b"f", b"g"], [[b"x"], [b"x", b"y"], [b"y"], [], [b"z"], [], []])
    assert keys == [b"x", b"x", b"x", b"d", b"z", b"f", b"g"]


def test_a_group_of_more_than_half_is_trained_on():
    shown = [{"picture": picture(0), "caption": f"one {number}"} for number in range(30)]
    others = [{"picture": picture(number), "caption": f"{number}"} for number in range(1, 20)]
    for seed in range(3):
        data = load([row | {"caption": f"{row['caption']} {seed}"} for row in shown + others], FIELDS, test=0.4)
        assert sum(row["caption"].startswith("one") for row in data.train) == 30
        assert any("30 of 49 rows are one group" in note for note in data.notes)


@pytest.mark.parametrize("sizes", [[40, 30, 30], [34, 33, 33], [60, 20, 20], [25] * 4, [10] * 10, [1] * 20, [90, 5, 5]])
def test_no_split_that_was_asked_for_is_empty_where_rows_allow_it(sizes):
    for seed in range(20):
        keys = [f"{seed} {group}".encode() for group, size in enumerate(sizes) for _ in range(size)]
        splits = assign_splits(keys, [None] * len(keys), 0.05, 0.1)
        assert {*splits} == {"train", "validation", "test"}
        assert len({*zip(keys, splits, strict=True)}) == len(sizes)  # groups stay together
        assert splits == assign_splits(keys, [None] * len(keys), 0.05, 0.1)
        more = ["train", "test"] * (len(keys) // 2)
        assert "test" not in assign_splits(keys, ["train"] * len(keys), 0.0, 0.1)
        assert assign_splits(keys, more, 0.05, 0.1)[1::2] == ["test"] * (len(keys) // 2)


def test_a_split_that_stays_empty_is_told():
    halves = [{"picture": picture(number % 2), "caption": f"{number}"} for number in range(12)]
    data = load(halves, FIELDS, validation=0.2, test=0.2)
    assert len(data.train) == 6
    assert any("there are no rows in validation; rows that share" in note for note in data.notes)
    keyed = load(
        [{"caption": f"{number}", "who": "all"} for number in range(12)], {"caption": FIELDS["caption"]}, key="who"
    )
    assert any("there are no rows in test" in note for note in keyed.notes) or not len(keyed.train)


def test_a_key_says_it_alone(rows):
    keyed = [row | {"who": number % 50} for number, row in enumerate(rows)]
    data = load(keyed, FIELDS, key="who", validation=0.1, test=0.2)
    assert overlap(data.test, data.train)["picture"] > 0.5


def test_an_earlier_run_keeps_its_split():
    from polymodal.config import DataConfig
    from polymodal.migration import migrate_config

    data = {"source": "rows.jsonl", "key": None, "validation": 0.05, "test": 0.1}
    assert migrate_config({"format": 3, "recipe": {"data": data}})["recipe"]["data"]["group"] is False
    kept = migrate_config({"format": 3, "recipe": {"data": {**data, "group": True}}})
    assert kept["recipe"]["data"]["group"] is True
    assert DataConfig(source="rows.jsonl").group
