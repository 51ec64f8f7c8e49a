"""What reads a set does not see the order of its members; what writes one follows it."""

import torch

from contract.spaces import WIDTH, make_context
from polymodal.encoders import PatchEncoder, PointsEncoder
from polymodal.heads import Flow
from polymodal.nn.random import make_keys, normal
from polymodal.types import Field, Space

SPACE = Space("continuous", (4, 24), is_set=True)
ORDER = torch.randperm(24, generator=torch.Generator().manual_seed(0))


def make_flow(**arguments):
    torch.manual_seed(0)
    flow = Flow(SPACE, WIDTH, depth=2, heads=2, latents=6, **arguments)
    for parameter in flow.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return flow.eval()


def test_the_encoder_is_invariant():
    torch.manual_seed(0)
    encoder = PointsEncoder(SPACE, WIDTH, latents=5, depth=1, heads=2).eval()
    value = normal(make_keys(0, 3), SPACE.shape)
    first, second = (encoder(Field.full(v)).x for v in (value, value[..., ORDER]))
    assert first.shape == (3, 5, WIDTH)
    torch.testing.assert_close(first, second)
    other = value.clone()
    other[:, :, 3] += 1
    assert not torch.allclose(first, encoder(Field.full(other)).x)


def test_the_flow_is_equivariant():
    flow, context = make_flow(), make_context(rows=3)
    x, mask, time = normal(make_keys(1, 3), (24, 4)), torch.ones(3, 24, dtype=torch.bool), torch.tensor([0.1, 0.5, 0.9])
    velocity = flow.velocity(x, mask, time, context)
    assert velocity.std() > 0.05
    torch.testing.assert_close(flow.velocity(x[:, ORDER], mask, time, context), velocity[:, ORDER])


def test_a_loss_sees_a_part_of_the_members_chosen_anew():
    flow, context = make_flow(members=8), make_context(rows=3)
    target = Field.full(normal(make_keys(2, 3), SPACE.shape))
    losses = [flow.loss(context, target, "model", make_keys(seed, 3))["flow"] for seed in (3, 3, 4)]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


def test_parts_that_see_places_refuse_sets():
    assert "order" in PatchEncoder.accepts(SPACE)
    assert "sets" in PointsEncoder.accepts(Space("continuous", (4, 24)))
