"""What every encoder, codec and fusion promises."""

import pytest
import torch
from torch import nn

from contract.spaces import SPACES, WIDTH, assert_well_formed, behind_mask, make_field, needs_model
from polymodal.codecs import CODECS
from polymodal.encoders import ENCODERS
from polymodal.fusion import FUSIONS
from polymodal.nn.random import make_keys, normal
from polymodal.parts import build_part
from polymodal.types import Field, Tokens

ENCODER_CASES = [
    (kind, name)
    for kind, part in ENCODERS.items()
    for name, space in SPACES.items()
    if part.accepts(space) is None and not needs_model(part)
]
CODEC_CASES = [
    (kind, name)
    for kind, part in CODECS.items()
    if part.trains  # that which does not is in unit/codecs/test_trained.py
    for name, space in SPACES.items()
    if name in ("picture", "bounded", "odd", "sound", "clip") and part.accepts(space) is None and not needs_model(part)
]
SMALL_NETWORK = {"channels": [8, 8], "patch": 2, "adversarial": 0.1, "perceptual": 0.1}
CODEC_SETTINGS = {"kl": {"latent": 4, **SMALL_NETWORK}, "fsq": {"levels": [4, 3], "codes": 2, **SMALL_NETWORK}}


def shortened(field: Field) -> Field:
    """Without the columns that no row needs."""
    if field.mask.shape[1] == 1:
        return field
    longest = int(field.lengths.max())
    return field.trim(longest)


def make_encoder(kind: str, name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_part("encoder", {"kind": kind}, "encoder", SPACES[name], WIDTH)


def make_codec(kind: str, name: str) -> nn.Module:
    """A codec that has seen some values."""
    torch.manual_seed(0)
    codec = build_part("codec", {"kind": kind, **CODEC_SETTINGS.get(kind, {})}, "codec", SPACES[name])
    some = [make_field(SPACES[name], 64, seed=9)]
    codec.initialise(some)
    codec.calibrate(some)
    return codec.eval()


def test_every_space_has_an_encoder_and_a_refusal_says_why():
    assert {name for _, name in ENCODER_CASES} == set(SPACES)
    for table in (ENCODERS, CODECS):
        for part in table.values():
            for space in SPACES.values():
                reason = part.accepts(space)
                assert reason is None or len(reason) > 5


@pytest.mark.parametrize(("kind", "name"), ENCODER_CASES)
def test_an_encoder_gives_tokens_of_each_row_alone(kind, name):
    encoder, field = make_encoder(kind, name), make_field(SPACES[name])
    for keys in (None, make_keys(0, 4)):
        tokens = encoder(field, keys)
        assert tokens.x.shape[::2] == (4, WIDTH if encoder.trains else encoder.width)
        assert tokens.mask.shape == tokens.x.shape[:2]
        assert tokens.mask.any(1).all()
        for k in range(4):
            row = torch.tensor([k])
            alone = encoder(shortened(field.pick(row)), None if keys is None else keys[row])
            real, own = tokens.x[k][tokens.mask[k]], alone.x[0][alone.mask[0]]
            torch.testing.assert_close(own, real, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "name"), ENCODER_CASES)
def test_an_encoder_sees_nothing_behind_a_mask(kind, name):
    encoder, field = make_encoder(kind, name), make_field(SPACES[name])
    for keys in (None, make_keys(0, 4)):
        clean, dirty = encoder(field, keys), encoder(behind_mask(field, 2), keys)
        torch.testing.assert_close(clean.x[clean.mask], dirty.x[dirty.mask], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "name"), ENCODER_CASES)
def test_an_encoder_augments_only_where_it_has_keys(kind, name):
    encoder, field = make_encoder(kind, name), make_field(SPACES[name])
    assert torch.equal(encoder(field).x, encoder(field).x)
    assert torch.equal(encoder(field, make_keys(1, 4)).x, encoder(field, make_keys(1, 4)).x)


@pytest.mark.parametrize(("kind", "name"), CODEC_CASES)
def test_a_codec_compresses(kind, name):
    codec, space = make_codec(kind, name), SPACES[name]
    field = make_field(space, 64, seed=9)
    with torch.no_grad():
        code = codec.encode(field)
        back = codec.decode(code)
    assert_well_formed(code, codec.latent)
    assert_well_formed(back, space)
    assert code.value[0].numel() < field.value[0].numel()
    assert (back.lengths >= field.lengths).all()
    if codec.latent.kind == "discrete":
        assert torch.equal(codec.encode(back).mask, code.mask)
        return
    real = code.value.movedim(1, -1)
    real = (real[code.mask] if space.variable else real).flatten(0, -2)
    torch.testing.assert_close(real.mean(0), torch.zeros(real.shape[1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(real.square().mean(), torch.ones(()), atol=1e-3, rtol=0)  # one scale for all channels


@pytest.mark.parametrize(("kind", "name"), CODEC_CASES)
def test_a_codec_codes_each_row_alone_and_sees_nothing_behind_a_mask(kind, name):
    codec, field = make_codec(kind, name), make_field(SPACES[name])
    with torch.no_grad():
        code, dirty = codec.encode(field), codec.encode(behind_mask(field, 2))
        torch.testing.assert_close(code.value, dirty.value, rtol=1e-4, atol=1e-4)
        for k in range(4):
            alone = codec.encode(shortened(field.pick(torch.tensor([k]))))
            torch.testing.assert_close(alone.values()[0], code.values()[k], rtol=1e-4, atol=1e-4)
            back, both = codec.decode(alone).values()[0], codec.decode(code).values()[k]
            torch.testing.assert_close(back, both, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "name"), CODEC_CASES)
def test_losses_of_a_codec_are_per_row_and_of_that_row_alone(kind, name):
    codec, field, keys = make_codec(kind, name), make_field(SPACES[name]), make_keys(0, 4)
    assert codec.players == ("critic", "model")
    for player in codec.players:
        codec.zero_grad()
        losses, dirty = codec.loss(field, player, keys), codec.loss(behind_mask(field, 2), player, keys)
        for term, loss in losses.items():
            assert loss.shape == (4,)
            assert torch.isfinite(loss).all()
            torch.testing.assert_close(dirty[term], loss, rtol=1e-4, atol=1e-5)
            for k in range(4):
                row = torch.tensor([k])
                alone = codec.loss(shortened(field.pick(row)), player, keys[row])[term]
                torch.testing.assert_close(alone[0], loss[k], rtol=1e-3, atol=1e-5)
        sum(loss.sum() for loss in losses.values()).backward()
        own = {id(p) for p in codec.parameters_of(player)}
        moved = {id(p) for p in codec.parameters() if p.grad is not None and p.grad.any()}
        assert moved
        assert moved <= own
        assert all(torch.isfinite(p.grad).all() for p in codec.parameters() if p.grad is not None)


@pytest.mark.parametrize(("kind", "name"), CODEC_CASES)
def test_players_partition_the_parameters_of_a_codec(kind, name):
    codec = make_codec(kind, name)
    moved = [id(p) for player in codec.players for p in codec.parameters_of(player)]
    assert len(moved) == len(set(moved))
    assert set(moved) == {id(p) for p in codec.parameters()}
    assert not list(codec.parameters_of("nobody"))


@pytest.mark.parametrize("kind", FUSIONS)
def test_a_fusion_joins_any_subset(kind):
    torch.manual_seed(0)
    fusion = build_part("fusion", {"kind": kind}, "fusion", ["a", "b"], WIDTH)
    x = normal(make_keys(0, 4), (3, WIDTH))
    visible = torch.tensor([[True, True, True, False], [False, True, False, False]])  # by field and row
    tokens = {
        name: Tokens(x * (place + 1), seen[:, None].expand(-1, 3).clone())
        for place, (name, seen) in enumerate(zip("ab", visible, strict=True))
    }
    context = fusion(tokens, 4, torch.device("cpu"))
    assert context.tokens.shape[::2] == (4, WIDTH)
    assert context.mask.any(1).all()
    assert context.pooled.shape == (4, WIDTH)
    assert all(loss.shape == (4,) for loss in context.losses.values())

    # What is not visible changes nothing, whatever it holds; nor does leaving out a field that no row sees.
    dirty = {name: Tokens(t.x.masked_fill(~t.mask[..., None], 5.0), t.mask) for name, t in tokens.items()}
    torch.testing.assert_close(fusion(dirty, 4, torch.device("cpu")).pooled, context.pooled)
    rows = torch.tensor([0, 2])
    without = fusion({"a": Tokens(x[rows], tokens["a"].mask[rows])}, 2, torch.device("cpu"))
    torch.testing.assert_close(without.pooled, context.pooled[rows], rtol=1e-4, atol=1e-5)
    nothing = fusion({}, 1, torch.device("cpu"))
    torch.testing.assert_close(nothing.pooled[0], context.pooled[3], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(context.pooled[0], context.pooled[1])
