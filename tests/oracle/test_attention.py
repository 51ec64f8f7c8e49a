"""Attention, rotary positions and the cache against their definitions."""

import math

import pytest
import torch

from polymodal.nn.attention import Attention, rotate, rotation, turns_at
from polymodal.nn.layers import RMSNorm, SwiGLU
from polymodal.nn.transformer import Transformer


def by_hand(attention: Attention, x, keys_from, visible):
    """Softmax attention, head by head. ``visible`` (B, N, M)."""
    width, out = x.shape[-1], []
    if attention.crosses:
        query = x @ attention.query.weight
        key, value = (keys_from @ attention.key_value.weight).split(width, dim=-1)
    else:
        query, key, value = (x @ attention.query_key_value.weight).split(width, dim=-1)
    for q, k, v in zip(*(t.split(attention.head_width, dim=-1) for t in (query, key, value)), strict=True):
        scores = q @ k.mT / math.sqrt(attention.head_width)
        out.append(scores.masked_fill(~visible, -math.inf).softmax(-1) @ v)
    return torch.cat(out, dim=-1) @ attention.out.weight


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_self_attention_is_softmax_attention(causal, masked):
    torch.manual_seed(0)
    attention, x = Attention(12, 3), torch.randn(2, 5, 12)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool() if masked else None
    visible = torch.ones(2, 5, 5, dtype=torch.bool).tril() if causal else torch.ones(2, 5, 5, dtype=torch.bool)
    if masked:
        visible = visible & mask[:, None]
    torch.testing.assert_close(attention(x, mask=mask, causal=causal), by_hand(attention, x, x, visible))


def test_shares_are_what_forward_mixes_with():
    torch.manual_seed(0)
    attention, x, context = Attention(12, 3, context_width=8), torch.randn(4, 5, 12), torch.randn(2, 6, 8)
    mask = torch.tensor([[1, 1, 1, 0, 0, 1], [1, 1, 1, 1, 1, 1]]).bool()
    shares = attention.shares(x, context, mask)  # every two rows share a context
    assert shares.shape == (2, 3, 10, 6)
    assert shares[0, :, :, 3:5].abs().max() == 0
    value = (context @ attention.key_value.weight)[..., 12:].view(2, 6, 3, 4).transpose(1, 2)
    mixed = (shares @ value).transpose(1, 2).flatten(2) @ attention.out.weight
    torch.testing.assert_close(attention(x, context=context, mask=mask), mixed.view(4, 5, 12))


def test_cross_attention_is_softmax_attention():
    torch.manual_seed(0)
    attention, x, context = Attention(12, 3, context_width=7), torch.randn(2, 5, 12), torch.randn(2, 4, 7)
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 1]]).bool()
    expected = by_hand(attention, x, context, mask[:, None].expand(2, 5, 4))
    torch.testing.assert_close(attention(x, context=context, mask=mask), expected)


def test_a_row_without_a_real_key_gives_zeros_and_finite_gradients():
    attention, x = Attention(12, 3), torch.randn(2, 5, 12, requires_grad=True)
    mask = torch.tensor([[False] * 5, [True] * 5])
    y = attention(x, mask=mask)
    y.square().sum().backward()
    assert torch.equal(y[0], torch.zeros(5, 12))
    assert y[1].abs().min() > 0
    assert all(t.grad.isfinite().all() for t in (x, *attention.parameters()))


def test_rotation_is_multiplication_by_a_complex_number():
    torch.manual_seed(0)
    packed = torch.randn(2, 6, 3, 4, 2, 5)
    turned = rotate(packed, rotation(6, 10))
    angles = torch.arange(6)[:, None] * 10_000.0 ** (-torch.arange(5) / 5)
    for part in (0, 1):  # queries, keys
        number = torch.complex(*packed[:, :, part].unbind(-2)) * torch.polar(torch.ones(6, 5), angles)[:, None]
        torch.testing.assert_close(turned[:, :, part], torch.stack([number.real, number.imag], dim=-2))
    assert torch.equal(turned[:, :, 2], packed[:, :, 2])


def test_rotary_attention_depends_on_distances_only():
    torch.manual_seed(0)
    attention, x = Attention(16, 2, rotary=True), torch.randn(1, 4, 16)
    shifted = attention(x, turns=turns_at(rotation(11, 8), 7, 4))
    torch.testing.assert_close(attention(x), shifted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(attention(x), attention(x, turns=tuple(t[::2] for t in rotation(8, 8))), atol=1e-3)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("pieces", [[1] * 7, [7], [3, 1, 2, 1], [2, 5]])
def test_cached_equals_uncached(rotary, pieces):
    torch.manual_seed(0)
    transformer = Transformer(24, 3, 4, rotary=rotary, context_width=10)
    x, context, mask = torch.randn(2, 7, 24), torch.randn(2, 5, 10), torch.rand(2, 5) > 0.4
    arguments = {"context": context, "context_mask": mask, "causal": True}
    whole = transformer(x, **arguments)
    with torch.no_grad():
        cache = transformer.cache(2, 9)
        parts = [transformer(piece, cache=cache, **arguments) for piece in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-5)
    assert cache.position == 7
    assert cache.length == 9


def test_two_generations_share_a_model_and_nothing_else():
    torch.manual_seed(0)
    transformer, x, y = Transformer(16, 2, 2, rotary=True), torch.randn(1, 3, 16), torch.randn(1, 3, 16)
    first, second = transformer.cache(1, 3), transformer.cache(1, 3)
    with torch.no_grad():
        turns = [
            (transformer(a[None], causal=True, cache=first), transformer(b[None], causal=True, cache=second))
            for a, b in zip(x[0].split(1), y[0].split(1), strict=True)
        ]
        for k, sequence in enumerate((x, y)):
            apart = transformer(sequence, causal=True)
            torch.testing.assert_close(torch.cat([t[k] for t in turns], dim=1), apart, atol=1e-5, rtol=1e-5)
    assert not [name for name, _ in transformer.named_buffers()]


def test_rms_norm_is_torchs():
    torch.manual_seed(0)
    norm, x = RMSNorm(32), torch.randn(4, 7, 32) * torch.logspace(-4, 2, 7)[:, None]
    with torch.no_grad():
        norm.weight.normal_()
    torch.testing.assert_close(norm(x), torch.nn.functional.rms_norm(x, (32,), norm.weight, 1e-6))


def test_rms_norm_of_zeros_is_zero_with_finite_gradients():
    x = torch.zeros(2, 8, requires_grad=True)
    y = RMSNorm(8)(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(2, 8))
    assert x.grad.isfinite().all()


def test_swiglu_is_its_formula():
    torch.manual_seed(0)
    layer, x = SwiGLU(6, 10), torch.randn(3, 6)
    gate, up = layer.gate_up.weight[:, :10], layer.gate_up.weight[:, 10:]
    torch.testing.assert_close(layer(x), (torch.sigmoid(x @ gate) * (x @ gate) * (x @ up)) @ layer.down.weight)
