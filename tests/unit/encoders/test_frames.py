"""The encoder of videos: what is done to a clip is done to all of its frames."""

import torch

from polymodal.encoders import FramesEncoder
from polymodal.nn.random import make_keys
from polymodal.types import Field, Space


def test_all_frames_of_a_clip_are_augmented_alike():
    torch.manual_seed(0)
    encoder = FramesEncoder(Space("continuous", (1, 6, 16, 16), varies=1), 8, stages=2, depth=0, augment=1.0)
    encoder.positions.zero_()
    still = torch.rand(1, 1, 1, 16, 16).expand(2, 1, 6, 16, 16)
    field = Field.full(still.contiguous(), torch.ones(2, 6, dtype=torch.bool), 1)
    moments = encoder(field, make_keys(0, 2)).x.unflatten(1, (3, -1))
    torch.testing.assert_close(moments[:, 0], moments[:, 2])
    assert not torch.allclose(moments[0], moments[1], atol=1e-3)
