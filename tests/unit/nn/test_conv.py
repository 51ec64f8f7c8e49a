import pytest
import torch
import torch.nn.functional as F

from polymodal.nn.conv import Downsample, ResidualBlock, Upsample, shuffle, unshuffle


def test_unshuffle_is_torchs_and_shuffle_its_inverse():
    x = torch.randn(2, 3, 8, 6)
    assert torch.equal(unshuffle(x), F.pixel_unshuffle(x, 2))
    assert torch.equal(shuffle(unshuffle(x)), x)
    assert unshuffle(x).is_contiguous(memory_format=torch.channels_last)
    line = torch.randn(2, 3, 8)
    assert torch.equal(unshuffle(line), line.unflatten(2, (4, 2)).permute(0, 1, 3, 2).flatten(1, 2))
    assert torch.equal(shuffle(unshuffle(line)), line)
    clip = torch.randn(2, 3, 4, 8, 6)
    assert unshuffle(clip, (1, 2, 2)).unflatten(1, (3, 4)).shape == (2, 3, 4, 4, 4, 3)
    frames = clip.transpose(1, 2).flatten(0, 1)
    assert torch.equal(unshuffle(clip, (1, 2, 2)).transpose(1, 2).flatten(0, 1), F.pixel_unshuffle(frames, 2))
    for factor in (2, (1, 2, 2), (4, 2, 3)):
        assert torch.equal(shuffle(unshuffle(clip, factor), factor), clip)
    assert unshuffle(clip).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_shapes_and_the_identity_at_the_start(dims):
    x = torch.randn(2, 8, *[8] * dims)
    assert torch.equal(ResidualBlock(8, dims)(x), x)
    assert Downsample(8, 16, dims)(x).shape == (2, 16, *[4] * dims)
    assert Upsample(8, 4, dims)(x).shape == (2, 4, *[16] * dims)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_shortcuts_average_and_repeat(dims):
    x = torch.randn(2, 8, *[4] * dims)
    down, up = Downsample(8, 8, dims), Upsample(8, 8, dims)
    for layer in (down, up):
        torch.nn.init.zeros_(layer.conv.weight)
        torch.nn.init.zeros_(layer.conv.bias)
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[dims]
    torch.testing.assert_close(down(x), pool(x, 2))
    torch.testing.assert_close(up(x), F.interpolate(x, scale_factor=2, mode="nearest"))


def test_two_dimensions_stay_channels_last():
    x = torch.randn(2, 8, 8, 8).to(memory_format=torch.channels_last)
    for layer in (ResidualBlock(8, 2), Downsample(8, 16, 2), Upsample(8, 4, 2)):
        assert layer(x).is_contiguous(memory_format=torch.channels_last)


def test_a_row_is_the_same_however_long_its_batch():
    torch.manual_seed(0)
    layers = [ResidualBlock(8, 1), Downsample(8, 8, 1), ResidualBlock(8, 1), Upsample(8, 8, 1)]
    for layer in layers:
        torch.nn.init.normal_(getattr(layer, "conv_2", getattr(layer, "conv", None)).weight, std=0.2)
    x = torch.randn(1, 8, 8)
    mask = torch.zeros(1, 1, 14)
    mask[..., :8] = 1

    def run(x, mask):
        x = layers[0](x, mask)
        x = layers[1](x, mask)
        x = layers[2](x, mask[..., ::2])
        return layers[3](x, mask)

    padded = run(F.pad(x, (0, 6)), mask)
    torch.testing.assert_close(padded[..., :8], run(x, mask[..., :8]))
    assert not padded[..., 8:].any()
