"""Metrics of video: of frames, and of how much moves."""

import numpy as np
import torch

import polymodal as pm
from polymodal.evaluation.kinds import find_kind
from polymodal.evaluation.kinds.video import VideoKind, movement
from polymodal.evaluation.metrics import psnr
from polymodal.nn.random import make_keys, normal, uniform
from polymodal.types import Field

KIND = find_kind(pm.Video(size=16))


def clips(value: torch.Tensor, *lengths: int) -> Field:
    mask = torch.arange(value.shape[2]) < torch.tensor(lengths)[:, None]
    return Field.full(value, mask, 1).with_value(value)


def test_movement_of_a_still_is_nought_and_of_a_change_its_size():
    value = torch.zeros(3, 3, 4, 16, 16)
    value[1, :, 2:] = 1.0  # half the range, between the second frame and the third
    value[2, :, 3] = 1.0  # behind its mask
    torch.testing.assert_close(movement(clips(value, 4, 4, 3)), torch.tensor([0.0, 0.5 / 3, 0.0], dtype=torch.float64))
    assert movement(clips(value[:, :, :1], 1, 1, 1)).tolist() == [0, 0, 0]


def test_stills_move_less_than_clips_and_noise_more():
    assert type(KIND) is VideoKind
    real = clips(normal(make_keys(0, 8), (3, 6, 16, 16)).cumsum(2) / 9, *[6] * 8)
    for made, low, high in (
        (real, 1.0, 1.0),
        (clips(real.value[:, :, :1].expand_as(real.value), *[6] * 8), 0.0, 0.0),
        (clips(2 * real.value, *[6] * 8), 2.0, 2.0),
    ):
        (result,) = KIND.compare_sets(real, made)
        value, below, above = result.in_clusters(np.arange(8)).whole
        assert low - 1e-9 <= value <= high + 1e-9
        assert below <= value <= above


def test_reconstructions_are_compared_frame_by_frame_where_both_are_real():
    real = clips(uniform(make_keys(1, 2), (3, 5, 16, 16)), 5, 3)
    copy = real.with_value(real.value + 0.1)
    similarity, noise = KIND.reconstruction(real, copy, real.pick(torch.tensor([1, 0])))
    assert [similarity.metric, noise.metric] == ["SSIM of frames", "PSNR, dB of frames"]
    torch.testing.assert_close(torch.from_numpy(noise.values), psnr(torch.zeros(2, 1), torch.full((2, 1), 0.1)))
    assert (similarity.values > 0.9).all()
    assert similarity.chance < 0.5
    (first, *_) = KIND.reconstruction(real, real, real)
    np.testing.assert_allclose(first.values, 1.0)


def test_a_judge_reads_clips():
    tokens = KIND.encoder(8)(clips(uniform(make_keys(1, 2), (3, 5, 16, 16)), 5, 3))
    assert tokens.x.shape[::2] == (2, 8)
