import pytest
import torch

from polymodal.nn.transformer import Transformer


@pytest.mark.parametrize("rotary", [False, True])
def test_padding_is_inert(rotary):
    torch.manual_seed(0)
    transformer = Transformer(16, 2, 4, rotary=rotary)
    x = torch.randn(1, 5, 16)
    padded = torch.cat([x, torch.full((1, 3, 16), 9.0)], dim=1)
    mask = torch.tensor([[True] * 5 + [False] * 3])
    torch.testing.assert_close(transformer(padded, mask=mask)[:, :5], transformer(x), atol=1e-5, rtol=1e-5)


def test_causal_positions_do_not_see_ahead():
    transformer, x = Transformer(16, 2, 4, rotary=True), torch.randn(1, 6, 16)
    changed = x.clone()
    changed[:, 4:] *= -0.5
    before, after = transformer(x, causal=True), transformer(changed, causal=True)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_a_conditioned_block_starts_as_the_identity_and_learns_its_condition():
    torch.manual_seed(0)
    transformer = Transformer(16, 2, 4, conditioned=True)
    x, condition = torch.randn(3, 5, 16), torch.randn(3, 16)
    y = transformer(x, condition=condition)
    torch.testing.assert_close(y, transformer.norm(x))
    y.square().mean().backward()
    assert transformer.blocks[0].modulation.weight.grad.abs().sum() > 0


def test_dropout_only_in_training():
    torch.manual_seed(0)
    transformer, x = Transformer(16, 2, 4, dropout=0.5), torch.randn(1, 5, 16)
    assert not torch.equal(transformer(x), transformer(x))
    transformer.eval()
    assert torch.equal(transformer(x), transformer(x))


def test_an_empty_context_changes_nothing_by_its_values():
    torch.manual_seed(0)
    transformer, x = Transformer(16, 1, 4, context_width=8), torch.randn(2, 3, 16)
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    one = transformer(x, context=torch.randn(2, 4, 8), context_mask=nothing)
    other = transformer(x, context=torch.randn(2, 4, 8), context_mask=nothing)
    assert torch.equal(one, other)


@pytest.mark.parametrize(("depth", "heard"), [(1, "frame"), (2, "all")])
def test_blocks_attend_within_frames_and_over_time_in_turn(depth, heard):
    torch.manual_seed(0)
    net = Transformer(8, depth, 2)
    x = torch.randn(2, 12, 8, requires_grad=True)  # three frames of four tokens
    mask = torch.arange(12).expand(2, -1) < torch.tensor([[12], [8]])
    net(x, mask=mask, frame=4)[:, 5, 0].sum().backward()
    seen = x.grad.abs().sum(2) > 0
    wanted = torch.zeros(2, 12, dtype=torch.bool)
    wanted[:, 4:8] = True
    if heard == "all":
        wanted = mask.clone()
    assert torch.equal(seen, wanted)


def test_one_frame_attended_to_in_turn_is_attention_to_all_in_the_first_block():
    torch.manual_seed(0)
    net, x = Transformer(8, 1, 2), torch.randn(2, 6, 8)
    torch.testing.assert_close(net(x, frame=6), net(x))
