"""Augmentation: a row alone is changed as in a batch, strength 0 changes nothing, and each change is what it says."""

import pytest
import torch

from polymodal.encoders.augment import drop_tokens, jitter_picture, jitter_spectrogram
from polymodal.nn.random import make_keys, normal
from polymodal.parts import build_part
from polymodal.types import Field, Space

STILL_PICTURE = {"scale": 0.0, "shift": 0.0, "colour": 0.0}
STILL_SOUND = {"warp": 0.0, "tilt": 0.0, "masks": 2, "band": 0.0, "span": 0.0}
PICTURE = [{"scale": 0.2}, {"shift": 0.1}, {"colour": 0.2}, {"rotate_degrees": 20.0}, {"erase": 0.5}, {"noise": 0.5}]
SOUND = [{"warp": 0.1}, {"tilt": 0.3}, {"band": 0.3}, {"span": 0.3}, {"speed": 0.2}, {"shift": 0.2}, {"noise": 0.3}]
KEYS = make_keys(3, 6)
LENGTHS = torch.tensor([40, 25, 31, 8, 40, 1])


def pictures():
    return normal(make_keys(0, 6), (3, 12, 20))


def sounds():
    value = normal(make_keys(1, 6), (10, 40))
    return value * (torch.arange(40) < LENGTHS[:, None])[:, None]


@pytest.mark.parametrize("change", PICTURE, ids=lambda change: next(iter(change)))
def test_a_picture_alone_is_changed_as_in_a_batch(change):
    value = pictures()
    together = jitter_picture(value, KEYS, **STILL_PICTURE | change)
    assert together.shape == value.shape
    assert not torch.allclose(together, value, atol=1e-2)
    for k in range(6):
        alone = jitter_picture(value[k : k + 1], KEYS[k : k + 1], **STILL_PICTURE | change)
        torch.testing.assert_close(alone[0], together[k])


@pytest.mark.parametrize("change", SOUND, ids=lambda change: next(iter(change)))
def test_a_sound_alone_is_changed_as_in_a_batch(change):
    value = sounds()
    together = jitter_spectrogram(value, LENGTHS, KEYS, **STILL_SOUND | change)
    assert together.shape == value.shape
    assert not torch.allclose(together[:, :, :1], value[:, :, :1], atol=1e-2) or "span" in change
    for k, length in enumerate(LENGTHS.tolist()):
        alone = jitter_spectrogram(
            value[k : k + 1, :, :length], LENGTHS[k : k + 1], KEYS[k : k + 1], **STILL_SOUND | change
        )
        torch.testing.assert_close(alone[0], together[k, :, :length], rtol=1e-4, atol=1e-5)


def test_strength_0_changes_nothing():
    torch.testing.assert_close(jitter_picture(pictures(), KEYS, **STILL_PICTURE), pictures(), rtol=1e-4, atol=1e-4)
    still = jitter_spectrogram(sounds(), LENGTHS, KEYS, **STILL_SOUND)
    torch.testing.assert_close(still, sounds(), rtol=1e-4, atol=1e-4)
    x = normal(KEYS, (5, 8))
    assert torch.equal(drop_tokens(x, KEYS, 0.0), x)


def test_what_is_erased_is_a_rectangle_of_the_mean():
    value = pictures()
    erased = jitter_picture(value, KEYS, **STILL_PICTURE, erase=0.6)
    for before, after in zip(value, erased, strict=True):
        changed = ((before - after).abs() > 1e-3).any(0)
        rows, columns = changed.any(1), changed.any(0)
        assert torch.equal(changed, rows[:, None] & columns)
        if changed.any():
            torch.testing.assert_close(
                after[:, changed], before.mean().expand(3, int(changed.sum())), rtol=1e-3, atol=1e-3
            )


def test_each_picture_has_noise_of_its_own_level_within_the_range_of_pictures():
    noisy = jitter_picture(torch.zeros(6, 3, 40, 40), KEYS, **STILL_PICTURE, noise=0.4)
    levels = noisy.std((1, 2, 3))
    assert levels.max() < 0.4
    assert levels.std() > 0.05
    assert jitter_picture(torch.ones(6, 3, 8, 8), KEYS, **STILL_PICTURE, noise=3.0).abs().max() == 1


def test_a_turn_keeps_lengths_in_a_picture_that_is_not_square():
    """A disc stays a disc: its extent in rows and in columns is the same at any angle."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(96.0), indexing="ij")
    disc = (((y - 23.5) ** 2 + (x - 47.5) ** 2) < 15**2).float().expand(6, 1, -1, -1)
    turned = jitter_picture(disc, KEYS, **STILL_PICTURE, rotate_degrees=80.0)
    assert (turned - disc).abs().mean() < 0.01


def test_a_sound_at_another_speed_and_time():
    ramp = torch.arange(41.0).expand(6, 4, -1)
    lengths = torch.full((6,), 41)
    faster = jitter_spectrogram(ramp, lengths, KEYS, **STILL_SOUND, speed=0.3)[:, 0]
    slopes = faster[:, 21] - faster[:, 20]
    assert (slopes - 1).abs().max() < 0.3
    assert slopes.std() > 0.05
    torch.testing.assert_close(faster[:, 20], torch.full((6,), 20.0), rtol=1e-4, atol=1e-3)
    moved = jitter_spectrogram(ramp, lengths, KEYS, **STILL_SOUND, shift=0.2)[:, 0]
    torch.testing.assert_close(moved[:, 21] - moved[:, 20], torch.ones(6), rtol=1e-3, atol=1e-3)
    assert (moved[:, 20] - 20).abs().max() <= 0.2 * 41


def test_the_asked_share_of_tokens_is_hidden():
    x = torch.ones(6, 1000, 4)
    hidden = drop_tokens(x, KEYS, 0.3)
    assert abs(float((hidden == 0).float().mean()) - 0.3) < 0.02
    torch.testing.assert_close(drop_tokens(x[:, :10], KEYS, 0.3), hidden[:, :10])


@pytest.mark.parametrize(
    ("space", "part"),
    [
        (
            Space("continuous", (3, 16, 16)),
            {"kind": "picture", "stages": 2, "rotate_degrees": 15.0, "erase": 0.4, "noise": 0.3},
        ),
        (
            Space("continuous", (10, 40), varies=1),
            {"kind": "spectrogram", "speed": 0.1, "shift": 0.1, "noise": 0.2},
        ),
        (Space("discrete", (12,), 20, varies=0), {"kind": "sequence", "token_dropout": 0.3}),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else "",
)
def test_an_encoder_augments_in_training_alone_and_each_row_by_its_key(space, part):
    torch.manual_seed(0)
    encoder = build_part("encoder", part, "encoder", space, 16)
    longest = space.shape[-1] if space.variable else 1
    lengths = torch.tensor([longest, max(1, longest // 2), longest])
    mask = torch.arange(longest) < lengths[:, None]
    keys = make_keys(5, 3)
    value = normal(keys, space.shape) if space.kind == "continuous" else torch.full((3, longest), 7)
    field = Field(
        value * mask[:, None] if space.variable and value.dim() == 3 else value, mask, mask[:, 0], space.varies
    )
    plain, changed = encoder(field), encoder(field, keys)
    assert not torch.allclose(plain.x[plain.mask], changed.x[changed.mask], atol=1e-3)
    row, length = torch.tensor([1]), int(lengths[1])
    alone = field.pick(row)
    if space.variable:
        alone = alone.trim(length)
    own = encoder(alone, keys[row])
    torch.testing.assert_close(own.x[0][own.mask[0]], changed.x[1][changed.mask[1]], rtol=1e-4, atol=1e-4)
