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
