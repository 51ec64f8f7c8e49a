"""Keyed random numbers: a row's depend on its key alone, and they are random."""

import math

import pytest
import torch

from polymodal.nn.random import fingerprints, fold, make_keys, normal, uniform

MASK = 2**64 - 1


def split_mix(x: int) -> int:
    """SplitMix64's finaliser in whole numbers, as published."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


@pytest.mark.parametrize("number", [0, 1, 2, 77, 10**6])
def test_fold_is_split_mix(number):
    keys = make_keys(5, 4)
    expected = [split_mix((key + 0x9E3779B97F4A7C15 * (number + 1)) & MASK) for key in keys.tolist()]
    assert [key & MASK for key in fold(keys, number).tolist()] == expected
    assert torch.equal(fold(keys, number), fold(keys, torch.full((4,), number)))


def test_published_values():
    # The first outputs of SplitMix64 with seed 1234567, from the reference implementation.
    key = torch.tensor([1234567])
    outputs = [fold(key, n).item() & MASK for n in range(3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_row_is_the_same_in_any_batch():
    keys = make_keys(3, 8)
    for draw in (uniform, normal):
        together = draw(keys, (5, 3))
        for k in range(8):
            assert torch.equal(draw(keys[k : k + 1], (5, 3))[0], together[k])
    assert torch.equal(make_keys(3, 5, start=3), keys[3:])


def test_fewer_numbers_are_the_first_of_more():
    keys = make_keys(1, 4)
    for draw in (uniform, normal):
        assert torch.equal(draw(keys, (5, 3)), draw(keys, (9, 3))[:, :5])


def test_streams_differ():
    keys = torch.cat([make_keys(seed, 1000) for seed in range(3)])
    streams = torch.cat([keys, fold(keys, 0), fold(keys, 1), fold(fold(keys, 0), 0)])
    assert len(streams.unique()) == len(streams)


def test_uniform_is_uniform():
    u = uniform(make_keys(0, 1000), (100,)).double()
    assert u.min() >= 0
    assert u.max() < 1
    counts = torch.histc(u, bins=64, min=0, max=1)
    chi_squared = ((counts - u.numel() / 64) ** 2 / (u.numel() / 64)).sum()
    assert chi_squared < 63 + 5 * math.sqrt(2 * 63)
    for a, b in ((u[:-1], u[1:]), (u[:, :-1], u[:, 1:])):  # neighbouring rows, neighbouring numbers
        assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs() < 5 / math.sqrt(a.numel())


def test_normal_is_normal():
    z = normal(make_keys(0, 1000), (101,)).double()
    bound = 5 / math.sqrt(z.numel())
    assert z.mean().abs() < bound
    assert (z.var() - 1).abs() < bound * math.sqrt(2)
    assert ((z**4).mean() - 3).abs() < bound * math.sqrt(96)
    inside = (z.abs() < 1).double().mean()
    assert abs(inside - math.erf(1 / math.sqrt(2))) < bound


def test_shapes():
    keys = make_keys(0, 3)
    assert uniform(keys).shape == (3,)
    assert normal(keys).shape == (3,)
    assert normal(keys, (2, 3)).shape == (3, 2, 3)
    assert uniform(keys[:0], (2,)).shape == (0, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_fingerprints_are_equal_where_rows_are(dtype):
    rows = (torch.rand(2000, 3, 4, generator=torch.Generator().manual_seed(0)) * 3).round().to(dtype)
    rows[1000:] = rows[:1000]
    found = fingerprints(rows)
    assert found.shape == (2000, 4)
    assert torch.equal(found[1000:], found[:1000])
    different, _ = rows.flatten(1).unique(dim=0, return_inverse=True)
    assert len(found.unique(dim=0)) == len(different) > 900
    assert torch.equal(fingerprints(torch.nn.functional.pad(rows.flatten(1), (0, 5))), found)
    assert torch.equal(fingerprints(-torch.zeros(1, 2)), fingerprints(torch.zeros(1, 2)))
    assert not torch.equal(fingerprints(torch.tensor([[1, 2]])), fingerprints(torch.tensor([[2, 1]])))
