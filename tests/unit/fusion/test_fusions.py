"""Fusions beside their formulas, written out for one row at a time."""

import pytest
import torch

from polymodal.fusion.bottleneck import BottleneckFusion
from polymodal.fusion.concatenation import ConcatenationFusion
from polymodal.fusion.gated import GatedFusion
from polymodal.fusion.graph import GraphFusion, GraphLayer
from polymodal.fusion.tensor import TensorFusion
from polymodal.types import Tokens

CPU = torch.device("cpu")
WIDTH = 8


@pytest.fixture
def tokens() -> dict[str, Tokens]:
    """Row 0 sees both fields, row 1 the second alone, row 2 nothing."""
    torch.manual_seed(0)
    first = torch.tensor([[True, True, False], [False, False, False], [False, False, False]])
    second = torch.tensor([[True, False], [True, True], [False, False]])
    return {"a": Tokens(torch.randn(3, 3, WIDTH), first), "b": Tokens(torch.randn(3, 2, WIDTH), second)}


def test_the_mean_of_tokens_is_over_the_real_ones(tokens):
    torch.testing.assert_close(tokens["a"].mean[0], tokens["a"].x[0, :2].mean(0))
    assert not tokens["a"].mean[1:].any()
    assert tokens["b"].seen.tolist() == [True, True, False]


def test_gates_add_up_to_one_and_an_unseen_field_has_none(tokens):
    fusion = GatedFusion(["a", "b"], WIDTH)
    context = fusion(tokens, 3, CPU)
    value = torch.tanh(fusion.values["b"](tokens["b"].mean))[1]
    logits = torch.stack([torch.zeros(WIDTH), fusion.gates["b"](tokens["b"].mean)[1]])
    gates = logits.softmax(0)
    torch.testing.assert_close(context.pooled[1], gates[0] * fusion.nothing + gates[1] * value)
    torch.testing.assert_close(context.pooled[2], fusion.nothing)
    assert context.mask.tolist() == [[True, True, True], [True, False, True], [True, False, False]]


def test_a_tensor_is_the_contraction_of_the_outer_product(tokens):
    fusion = TensorFusion(["a", "b"], WIDTH, rank=3)
    a, b = (torch.cat([tokens[name].mean[0], torch.ones(1)]) for name in ("a", "b"))
    outer = a[:, None] * b[None]
    weights = []
    for name in ("a", "b"):
        layer = fusion.factors[name]
        matrix = torch.cat([layer.weight, layer.bias[None]]).view(WIDTH + 1, 3, WIDTH)
        one = torch.zeros(WIDTH + 1, 3, WIDTH)
        one[-1] = 1
        weights.append(matrix + one)
    whole = torch.einsum("ird,jrd,rd->ijd", *weights, fusion.nothing)  # the low-rank tensor, put together
    expected = fusion.proj_out(fusion.norm(torch.einsum("ij,ijd->d", outer, whole)))
    torch.testing.assert_close(fusion(tokens, 3, CPU).pooled[0], expected, rtol=1e-4, atol=1e-5)


def test_a_graph_layer_passes_messages_between_real_nodes_only():
    torch.manual_seed(1)
    layer, nodes = GraphLayer(WIDTH, 2), torch.randn(1, 3, WIDTH)
    mask = torch.tensor([[True, True, False]])
    h = layer.norm(nodes[0])
    source, target = layer.source(h).view(3, 2, -1), layer.target(h).view(3, 2, -1)
    for to in range(2):
        message = []
        for head in range(2):
            edges = [torch.nn.functional.leaky_relu(source[k, head] + target[to, head], 0.2) for k in range(2)]
            weights = torch.stack([(edge * layer.score[head]).sum() for edge in edges]).softmax(0)
            message.append(weights[0] * source[0, head] + weights[1] * source[1, head])
        expected = nodes[0, to] + layer.out(torch.cat(message))
        torch.testing.assert_close(layer(nodes, mask)[0, to], expected, rtol=1e-4, atol=1e-5)


def test_a_bottleneck_has_as_many_tokens_however_many_it_reads(tokens):
    fusion = BottleneckFusion(["a", "b"], WIDTH, latents=5, depth=1, heads=2)
    many = {name: Tokens(part.x.repeat(1, 50, 1), part.mask.repeat(1, 50)) for name, part in tokens.items()}
    assert fusion(many, 3, CPU).tokens.shape == fusion(tokens, 3, CPU).tokens.shape == (3, 5, WIDTH)
    turned = {name: Tokens(part.x.flip(1), part.mask.flip(1)) for name, part in tokens.items()}
    torch.testing.assert_close(fusion(turned, 3, CPU).pooled, fusion(tokens, 3, CPU).pooled)


def test_what_is_not_seen_is_a_learned_vector_in_a_concatenation(tokens):
    fusion = ConcatenationFusion(["a", "b"], WIDTH)
    before = fusion(tokens, 3, CPU).pooled.detach()
    with torch.no_grad():
        fusion.absent["a"].add_(torch.randn(WIDTH))
    after = fusion(tokens, 3, CPU).pooled
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1], atol=1e-3)


def test_graph_tokens_are_the_hub_and_the_visible_fields(tokens):
    context = GraphFusion(["a", "b"], WIDTH, heads=2)(tokens, 3, CPU)
    assert context.mask.tolist() == [[True, True, True], [True, False, True], [True, False, False]]
    assert not context.tokens[1, 1].any()
