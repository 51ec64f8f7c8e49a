"""Patches: there and back, padding, and what a value of another length has in common with the longest."""

import pytest
import torch

from polymodal.nn.patches import Patches, compression, crop, halvings, pad_to_multiple
from polymodal.nn.random import make_keys, normal
from polymodal.types import Space

SPACES = [
    (Space("continuous", (5,)), 1),
    (Space("continuous", (4, 11), varies=1), 3),
    (Space("continuous", (3, 8, 8)), 4),
    (Space("continuous", (3, 7, 10)), 4),
    (Space("continuous", (2, 5, 9), varies=2), 2),
    (Space("continuous", (2, 5, 6, 7), varies=1), (2, 3, 4)),
    (Space("continuous", (2, 5, 6, 7), varies=2), 2),
    (Space("continuous", (2, 5, 6, 7), varies=1), (64, 2, 64)),
]


@pytest.mark.parametrize(("space", "patch"), SPACES)
def test_there_and_back(space, patch):
    patches = Patches(space, patch)
    for length in {1, space.max_length}:
        shape = [length if axis == space.varies else side for axis, side in enumerate(space.shape)]
        value = normal(make_keys(0, 2), shape)
        tokens = patches.cut(value)
        assert tokens.shape[2] == patches.features
        assert torch.equal(patches.join(tokens, length), value)
        real = torch.ones(2, length if space.variable else 1, dtype=torch.bool)
        assert patches.mask(real).shape == tokens.shape[:2]
        assert patches.mask(real).all()
    assert tokens.shape[1] == torch.Size(patches.cells).numel()


@pytest.mark.parametrize(("space", "patch"), SPACES)
def test_a_shorter_value_has_the_first_tokens_of_a_longer_one(space, patch):
    patches, keys = Patches(space, patch), make_keys(0, 2)
    if not space.variable:
        assert patches.mask(torch.ones(2, 1, dtype=torch.bool)).all()
        return
    value, side = normal(keys, space.shape), patches.patch[space.varies - 1]
    long, short = patches.cut(value), patches.cut(value.narrow(1 + space.varies, 0, side))
    assert torch.equal(patches.trim(long, short.shape[1]), short)
    assert torch.equal(
        patches.trim(patches.noise(keys, long.shape[1]), short.shape[1]), patches.noise(keys, short.shape[1])
    )
    mask = torch.arange(space.max_length) < torch.tensor([[1], [space.max_length]])
    zeroed = value * mask.view(2, *(len(mask[0]) if axis == space.varies else 1 for axis in range(len(space.shape))))
    assert torch.equal(patches.cut(zeroed)[0].any(1), patches.mask(mask)[0])


def test_a_patch_larger_than_the_grid_becomes_the_grid():
    assert Patches(Space("continuous", (2, 5, 6, 7), varies=1), (64, 2, 64)).patch == (5, 2, 7)


def test_noise_is_standard_normal_in_any_order():
    patches = Patches(Space("continuous", (2, 5, 9), varies=2), 2)
    noise = patches.noise(make_keys(0, 400), 15)
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


def test_padding_and_cropping():
    value = torch.ones(1, 2, 5, 8)
    padded = pad_to_multiple(value, 4, 2)
    assert padded.shape == (1, 2, 8, 8)
    assert padded.sum() == value.sum()
    assert torch.equal(crop(padded, (5, 8)), value)
    assert pad_to_multiple(value, 1, 2) is value
    assert crop(value, (5, 8)) is value


def test_the_longest_sides_are_cut_first():
    assert compression((16, 64, 64), 1024) == (2, 8, 8)
    assert compression((8, 64, 64), 1024) == (1, 8, 8)
    assert compression((16, 24), 1000) == (1, 1)
    assert compression((64, 64), 256) == (4, 4)
    assert compression((), 1) == ()


def test_halvings():
    assert [halvings((side, side), 256) for side in (1, 16, 17, 28, 64, 256)] == [0, 0, 1, 1, 2, 4]
    assert halvings((), 1) == 0
