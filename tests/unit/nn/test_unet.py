"""The U-Net: what it keeps, and what it hears."""

import pytest
import torch

from polymodal.nn.random import make_keys, normal
from polymodal.nn.unet import UNet


def unet(grid, channels=(8, 16), blocks=1, **options) -> UNet:
    torch.manual_seed(0)
    return UNet(3, grid, 5, channels, blocks, **options)


@pytest.mark.parametrize(
    ("grid", "channels"),
    [((8,), (8, 16)), ((4, 8), (8, 16, 24)), ((3, 5), (8,)), ((3, 5), (8, 16)), ((3, 4, 5), (8, 16))],
)
def test_it_starts_at_zero_and_every_parameter_learns(grid, channels):
    net = unet(grid, channels, blocks=2, sketch=True)
    x, vector = normal(make_keys(0, 2), (torch.Size(grid).numel(), 3)), normal(make_keys(1, 2), (5,))
    assert net(x, vector).shape == x.shape
    assert not net(x, vector).any()
    for parameter in net.parameters():
        parameter.data.normal_(std=0.1)
    net(x, vector).square().sum().backward()
    assert all(parameter.grad.any() for parameter in net.parameters())


def test_a_cell_hears_of_its_neighbours_by_the_finest_level_and_of_all_by_the_coarsest():
    net = unet((8, 8), (8, 16, 16))
    for parameter in net.parameters():
        parameter.data.normal_(std=0.1)
    x = normal(make_keys(0, 1), (64, 3)).requires_grad_()
    net(x, torch.zeros(1, 5))[0, 0].sum().backward()
    heard = x.grad[0].abs().sum(1).view(8, 8)
    assert heard[0, 0] > heard[7, 7] > 0


def test_rows_are_seen_alone():
    net = unet((4, 4))
    for parameter in net.parameters():
        parameter.data.normal_(std=0.1)
    x, vector = normal(make_keys(0, 3), (16, 3)), normal(make_keys(1, 3), (5,))
    torch.testing.assert_close(net(x, vector)[1:2], net(x[1:2], vector[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rest", [(), (4, 4)])
def test_nothing_behind_the_mask_is_heard(rest):
    net = unet((6, *rest))
    for parameter in net.parameters():
        parameter.data.normal_(std=0.1)
    size, vector = torch.Size(rest).numel(), normal(make_keys(1, 2), (5,))
    x = normal(make_keys(0, 2), (6 * size, 3))
    mask = (torch.arange(6 * size) < torch.tensor([[3], [6]]) * size).expand(2, -1)
    dirty = x.masked_fill(~mask[..., None], 9.0)
    clean = net(x, vector, mask)
    torch.testing.assert_close(net(dirty, vector, mask)[mask], clean[mask])
    short = net(x[:1, : 3 * size], vector[:1], mask[:1, : 3 * size])
    torch.testing.assert_close(short, clean[:1, : 3 * size], rtol=1e-4, atol=1e-5)


def test_each_place_attends_to_the_real_tokens_of_a_context_that_some_rows_share():
    net = unet((4, 6), context_width=7, heads=2)
    for parameter in net.parameters():
        parameter.data.normal_(std=0.1)
    x, vector = normal(make_keys(0, 4), (24, 3)), normal(make_keys(1, 4), (5,))
    context, real = normal(make_keys(2, 2), (3, 7)), torch.tensor([[True, True, False], [True, True, True]])
    made = net(x, vector, None, context, real)
    made.square().sum().backward()
    assert all(parameter.grad.any() for parameter in net.parameters())
    dirty = context.masked_fill(~real[..., None], 9.0)
    torch.testing.assert_close(net(x, vector, None, dirty, real), made)
    own = context.repeat_interleave(2, 0), real.repeat_interleave(2, 0)
    torch.testing.assert_close(net(x, vector, None, *own), made)
    other = net(x, vector, None, -context, real)
    assert ((other - made).abs().amax((1, 2)) > 1e-3).all()


def test_a_sketch_says_what_is_where():
    plain, sketched = unet((6, 5)), unet((6, 5), sketch=True)
    for net in (plain, sketched):
        for parameter in net.parameters():
            parameter.data.normal_(std=0.1)
    x = torch.zeros(2, 30, 3)
    made = sketched(x, normal(make_keys(1, 2), (5,)))
    inside = made[1] - made[0]
    assert inside.std(0).min() > 1e-3  # another vector changes places in ways of their own
    assert sum(p.numel() for p in sketched.sketch.parameters()) == 5 * 4 * 9 + 4 * 9 + 4 * 16 + 16
