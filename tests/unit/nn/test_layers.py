"""Layers that everything is made of."""

import torch
from torch import nn

from polymodal.nn.layers import flatten_parameters


def test_parameters_laid_together_are_the_same_and_follow_one_another():
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(7, 3)).to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    strides = [parameter.stride() for parameter in module.parameters()]
    flatten_parameters(module)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert [parameter.stride() for parameter in module.parameters()] == strides
    assert len({parameter.untyped_storage().data_ptr() for parameter in module.parameters()}) == 1
    places = [(parameter.storage_offset(), parameter.numel()) for parameter in module.parameters()]
    assert all(start + count <= next_start for (start, count), (next_start, _) in zip(places, places[1:], strict=False))
    assert all(start % 16 == 0 for start, _ in places)
