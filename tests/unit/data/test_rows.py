"""Batches: gathers, padding, masks, views."""

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal import DataError
from polymodal.data import Column

FIELDS = {"picture": pm.Image(size=4), "name": pm.Text(max_length=16), "v": pm.Vector(size=2, mean=5, std=2)}


@pytest.fixture
def rows(tmp_path):
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)
    table = [
        {
            "picture": pictures[i % 4] if i % 3 else None,
            "name": "x" * (1 + i % 7) if i % 2 else None,
            "v": [float(i), 1.0],
            "style": "ab"[i % 2],
            "number": i,
        }
        for i in range(30)
    ]
    return pm.load(table, FIELDS, cache=tmp_path, validation=0, test=0).train


def test_batch_is_each_row_alone(rows):
    index = torch.tensor([3, 0, 7, 7, 29, 4])
    batch = rows.decode(rows.batch(index))
    for name, field in batch.items():
        assert field.present.tolist() == rows.present[name][index].tolist()
        for k, i in enumerate(index.tolist()):
            alone = rows.decode(rows.batch(np.array([i])))[name]
            length = int(alone.lengths[0]) if name == "name" else None
            assert torch.equal(field.value[k][..., :length], alone.value[0][..., :length])
            assert int(field.lengths[k]) == int(alone.lengths[0])


def test_absent_and_padding_are_zero_after_decoding(rows):
    batch = rows.decode(rows.batch(np.arange(30)))
    for field in batch.values():
        assert (field.value[~field.present] == 0).all()
        assert field.value.isfinite().all()
    text = batch["name"]
    assert (text.value[~text.mask] == 0).all()
    assert (text.value[text.mask] != 0).all()
    assert text.value.shape == text.mask.shape == (30, 8)
    assert batch["picture"].mask.shape == (30, 1)
    assert batch["picture"].value.dtype == torch.float32
    assert rows.batch(np.arange(2))["picture"].value.dtype == torch.uint8


def test_all_absent_and_empty_batches(rows):
    batch = rows.decode(rows.batch(np.array([0, 6])))
    assert batch["picture"].value.shape == (2, 3, 4, 4)
    assert batch["name"].value.shape == (2, 1)
    assert not batch["name"].mask.any()
    assert len(rows.batch(np.array([], dtype=np.int64))["name"]) == 0


def test_the_axis_that_varies_comes_last():
    values = np.arange(1, 25, dtype=np.float16).reshape(8, 3)  # lengths 5 and 3, 3 channels
    column = Column(values, np.array([0, 5, 8]), np.array([1, -1, 0]), varies=1)
    field = column.batch(np.array([0, 1, 2]))
    assert field.value.shape == (3, 3, 5)
    assert field.mask.sum(1).tolist() == column.lengths.tolist() == [3, 0, 5]
    np.testing.assert_array_equal(field.value[0, :, :3].T, values[5:])
    np.testing.assert_array_equal(field.value[2].T, values[:5])
    assert (field.value[1] == 0).all()
    assert (field.value[0, :, 3:] == 0).all()


def test_compact_columns_have_the_same_rows_and_no_other_values(rows):
    some = rows.select(np.array([9, 1, 9, 3, 0, 2]))
    for name, column in some.columns.items():
        compact = column.compact()
        assert [*compact.batch(np.arange(6)).value.flatten()] == [*column.batch(np.arange(6)).value.flatten()], name
        assert compact.present.tolist() == column.present.tolist()
        assert compact.lengths.tolist() == column.lengths.tolist()
        assert compact.values.size < column.values.size
        assert not isinstance(compact.values.base, np.memmap)
        assert len(column.take(np.array([], dtype=np.int64)).compact().values) == 0


def test_views(rows):
    some = rows.select(torch.tensor([5, 1, 1]))
    assert some.column("number") == [5, 1, 1]
    assert some[0]["name"] == rows[5]["name"]
    assert rows.select(rows.present["name"]).column("number") == list(range(1, 30, 2))
    assert rows.where(style="b", number=5).column("number") == [5]
    assert len(rows.where(style="c")) == 0
    assert rows.unique("picture").column("number") == [1, 2, 4, 7]
    assert len(rows.unique("name")) == 7
    assert list(rows.only("name").batch(np.array([0]))) == ["name"]
    assert list(rows.only("name")[1]) == ["name"]
    with pytest.raises(DataError, match=r"^field: 'pictur' is unknown; did you mean 'picture'\?"):
        rows.unique("pictur")


def test_one_more_column(rows):
    latents = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float16)
    slots = rows.columns["picture"].slots
    more = rows.with_column("picture.latent", Column(latents, None, slots, "latents"))
    batch = more.decode(more.batch(np.array([1, 0])))
    assert batch["picture.latent"].value.dtype == torch.float32
    np.testing.assert_array_equal(batch["picture.latent"].value[0].numpy(), latents[slots[1]].astype(np.float32))
    assert (batch["picture.latent"].value[1] == 0).all()
    assert "picture.latent" not in more[0]
    assert more.fingerprint != rows.fingerprint
    assert len(more.select(np.array([1])).columns["picture.latent"]) == 1
    with pytest.raises(DataError, match=r"^column 'z' has 2 rows, the data 30$"):
        rows.with_column("z", Column(latents, None, slots[:2]))


def test_fingerprint_tells_order_and_content(rows):
    assert rows.select(np.arange(30)).fingerprint == rows.fingerprint
    assert rows.select(np.arange(30)[::-1]).fingerprint != rows.fingerprint


def test_cells_are_taken_away_and_nothing_of_them_stays(rows):
    gone = np.arange(30) % 4 == 1
    fewer = rows.without("name", gone)
    np.testing.assert_array_equal(fewer.present["name"], rows.present["name"] & ~gone)
    assert fewer[1]["name"] is None
    assert fewer[3]["name"] == rows[3]["name"]
    np.testing.assert_array_equal(fewer.present["picture"], rows.present["picture"])
    batch = fewer.decode(fewer.batch(np.array([1, 3])))
    assert (batch["name"].value[0] == 0).all()
    assert rows.present["name"][1], "the rows themselves are as they were"
    assert fewer.fingerprint != rows.fingerprint
    with pytest.raises(DataError, match=r"^field: 'nam' is unknown; did you mean 'name'\?"):
        rows.without("nam", gone)
