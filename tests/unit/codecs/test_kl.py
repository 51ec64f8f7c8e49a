"""The KL autoencoder: shapes, masks, and that it starts as the best linear codec."""

import pytest
import torch

from polymodal.codecs.kl import KLAutoencoder
from polymodal.nn.random import make_keys, normal
from polymodal.types import Field, Space

PICTURE = Space("continuous", (3, 32, 32))
SOUND = Space("continuous", (20, 40), varies=1)


def pictures(rows: int) -> Field:
    """Smooth pictures: random waves."""
    phase = normal(make_keys(0, rows), (3, 2))
    axis = torch.linspace(0, 3, 32)
    waves = [torch.sin(axis + phase[:, :, d, None] * 2) for d in (0, 1)]
    mask = torch.ones(rows, 1, dtype=torch.bool)
    return Field(waves[0][..., None] * waves[1][..., None, :], mask, mask[:, 0])


def sounds(rows: int, longest: int = 40) -> Field:
    value = normal(make_keys(1, rows), (20, longest)).cumsum(2) / 5
    mask = torch.arange(longest) < torch.linspace(longest / 2, longest, rows)[:, None]
    return Field.full(value * mask[:, None], mask, 1)


def test_latent_spaces():
    assert KLAutoencoder(PICTURE, latent=8, channels=(16, 32), patch=4).latent.shape == (8, 4, 4)
    assert KLAutoencoder(SOUND, latent=8, channels=(16,), patch=4).latent.shape == (8, 10)


@pytest.mark.parametrize(("space", "fields"), [(PICTURE, pictures(8)), (SOUND, sounds(8))], ids=["picture", "sound"])
def test_starts_as_principal_components_and_improves(space, fields):
    torch.manual_seed(0)
    codec = KLAutoencoder(space, latent=6, channels=(16,), patch=4, noise=0.0, kl_weight=0.0)
    codec.initialise([fields])
    seen = fields.mask[:, None] if space.variable else torch.ones(8, 1, 1, 1)

    def error() -> float:
        with torch.no_grad():
            made = codec.decode(codec.encode(fields)).value
        return float(((made - fields.value) * seen).square().sum() / seen.expand_as(fields.value).sum())

    start, power = error(), float((fields.value * seen).square().sum() / seen.expand_as(fields.value).sum())
    assert start < 0.3 * power
    optimizer = torch.optim.Adam(codec.parameters(), lr=2e-3)
    for step in range(60):
        losses = codec.loss(fields, "model", make_keys(step, 8))
        assert all(term.shape == (8,) for term in losses.values())
        optimizer.zero_grad()
        sum(term.mean() for term in losses.values()).backward()
        optimizer.step()
    assert error() < start


def test_no_linear_codec_of_that_size_is_better_at_the_start():
    fields = pictures(16)
    codec = KLAutoencoder(PICTURE, latent=4, channels=(8,), patch=8)
    codec.initialise([fields])
    with torch.no_grad():
        made = codec.decode(codec.encode(fields)).value
    patches = fields.value.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(-1, 192)
    centred = patches - patches.mean(0)
    best = torch.linalg.svdvals(centred)[4:].square().sum() / patches.numel()
    torch.testing.assert_close((made - fields.value).square().mean(), best, rtol=1e-3, atol=1e-6)


def test_wide_patches_of_what_hardly_varies_start_as_principal_components():
    still = torch.randn(1, 3, 1, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1) / 2
    clip = still.repeat(2, 1, 12, 1, 1)
    moved = torch.rand(2, 1, 12, 1, 1, generator=torch.Generator().manual_seed(1))
    clip[..., 20:24, 10:20] = moved
    space = Space("continuous", (3, 12, 32, 32), varies=1, bounds=(-1.0, 1.0))
    fields = Field.full(clip, torch.ones(2, 12, dtype=torch.bool), 1)
    codec = KLAutoencoder(space, latent=2, channels=(4,), blocks=0, patch=(1, 32, 32))
    codec.initialise([fields])
    with torch.no_grad():
        made = codec.decode(codec.encode(fields)).value
    torch.testing.assert_close(made, clip, rtol=0, atol=1e-3)


def test_calibrated_codes_have_unit_scale():
    codec, fields = KLAutoencoder(SOUND, latent=6, channels=(16,), patch=4), sounds(8)
    codec.initialise([fields])
    codec.calibrate([fields])
    code = codec.encode(fields)
    real = code.value.transpose(1, 2)[code.mask]
    torch.testing.assert_close(real.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(real.square().mean(), torch.ones(()), atol=1e-4, rtol=0)


def test_a_row_does_not_depend_on_how_long_its_batch_is():
    torch.manual_seed(0)
    codec, fields = KLAutoencoder(SOUND, latent=6, channels=(16, 16), patch=2), sounds(4)
    for parameter in codec.parameters():
        parameter.data.normal_(std=0.2)
    short = fields.pick(torch.arange(1)).trim(24)
    long, alone = codec.encode(fields), codec.encode(short)
    count = int(alone.mask.sum())
    assert int(long.mask[0].sum()) == count
    torch.testing.assert_close(long.value[0, :, :count], alone.value[0, :, :count], rtol=1e-4, atol=1e-5)
    decoded, decoded_alone = codec.decode(long), codec.decode(alone)
    length = int(decoded_alone.mask.sum())
    torch.testing.assert_close(decoded.value[0, :, :length], decoded_alone.value[0, :, :length], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sides", [(30, 30), (5, 37)])
def test_a_grid_that_does_not_divide_is_padded_and_its_losses_ignore_the_padding(sides):
    torch.manual_seed(0)
    codec = KLAutoencoder(Space("continuous", (3, *sides)), latent=6, channels=(8, 16), patch=4, perceptual=0.1)
    assert codec.latent.shape == (6, *(-(-side // 8) for side in sides))
    fields = Field.full(normal(make_keys(0, 4), (3, *sides)))
    codec.initialise([fields])
    made = codec.decode(codec.encode(fields))
    assert made.value.shape == fields.value.shape
    assert all(term.isfinite().all() for term in codec.loss(fields, "critic", make_keys(1, 4)).values())
    losses = codec.network.errors(made.value, fields.value, None, edge_weight=1.0)
    torch.testing.assert_close(losses["reconstruction"], (made.value - fields.value).abs().mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("shape", "varies", "levels", "patch"),
    [
        ((1, 28, 28), None, 1, 4),
        ((3, 64, 64), None, 1, 4),
        ((3, 128, 128), None, 2, 4),
        ((3, 256, 256), None, 3, 4),
        ((80, 625), 1, 1, 4),
        ((80, 4000), 1, 3, 4),
    ],
)
def test_compression_follows_from_the_space(shape, varies, levels, patch):
    space = Space("continuous", shape, varies=varies)
    codec = KLAutoencoder(space, latent=4)
    assert codec.sizes == {"channels": (64, 128, 256)[:levels], "patch": patch}
    assert torch.Size(codec.latent.grid).numel() <= 256
    few = KLAutoencoder(space, latent=4, channels=(8,))
    assert few.latent.grid == codec.latent.grid


def test_a_clip_that_ends_within_a_place_stands_still_to_its_end():
    """A code as large as what it codes loses nothing, so that what is decoded is what was coded."""
    space = Space("continuous", (1, 8, 3, 5), varies=1)
    codec = KLAutoencoder(space, latent=8, channels=(8,), patch=(2, 2, 2), blocks=0)
    keys = make_keys(0, 64)
    mask = (torch.arange(8) < torch.tensor([[5], [8]])).repeat(32, 1)
    field = Field.full(normal(keys, space.shape), mask, 1)
    field = field.with_value(field.value)
    codec.initialise([field])
    back = codec.decode(codec.encode(field))
    assert back.lengths[:2].tolist() == [6, 8]
    torch.testing.assert_close(back.value[:, :, :5], field.value[:, :, :5], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(back.value[::2, :, 5], field.value[::2, :, 4], atol=1e-3, rtol=1e-3)
    assert not back.value[::2, :, 6:].any()


@pytest.mark.parametrize(
    ("grid", "channels", "patch", "chosen"),
    [
        ((16, 64, 64), None, None, {"channels": (64, 128), "patch": (1, 4, 4)}),
        ((16, 64, 64), (64,), None, {"channels": (64,), "patch": (2, 8, 8)}),
        ((16, 64, 64), None, (2, 8, 8), {"channels": (64,), "patch": (2, 8, 8)}),
        ((4, 8, 8), None, None, {"channels": (64,), "patch": 2}),
        ((64, 64), None, None, {"channels": (64,), "patch": 4}),
        ((28, 28), None, 7, {"channels": (64,), "patch": 7}),
        ((256, 256), None, None, {"channels": (64, 128, 256), "patch": 4}),
        ((200,), None, None, {"channels": (64,), "patch": 4}),
    ],
)
def test_a_clip_is_compressed_more_in_space_than_in_time(grid, channels, patch, chosen):
    codec = KLAutoencoder(Space("continuous", (3, *grid)), latent=4, channels=channels, patch=patch)
    assert codec.sizes == chosen
