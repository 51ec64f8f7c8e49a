"""Finite scalar quantisation: ids and back, what an odd sequence decodes to, how many codes are used."""

import math

import pytest
import torch

from polymodal.codecs.fsq import END, FIRST, FiniteScalarQuantizer
from polymodal.errors import ConfigError
from polymodal.nn.random import make_keys, normal
from polymodal.types import Field, Space
from refusals import refused

PICTURE = Space("continuous", (3, 16, 16))
SOUND = Space("continuous", (20, 40), varies=1)
SMALL = {"levels": (5, 4, 3), "channels": (16,), "patch": 4}


def pictures(rows: int) -> Field:
    """Smooth pictures: random waves."""
    phase = normal(make_keys(0, rows), (3, 2))
    axis = torch.linspace(0, 3, 16)
    waves = [torch.sin(axis + phase[:, :, d, None] * 2) for d in (0, 1)]
    mask = torch.ones(rows, 1, dtype=torch.bool)
    return Field(waves[0][..., None] * waves[1][..., None, :], mask, mask[:, 0])


def sounds(rows: int) -> Field:
    value = normal(make_keys(1, rows), (20, 40)).cumsum(2) / 5
    mask = torch.arange(40) < torch.linspace(13, 40, rows).round()[:, None]
    return Field.full(value * mask[:, None], mask, 1)


def made(space: Space, fields: Field, **options) -> FiniteScalarQuantizer:
    torch.manual_seed(0)
    codec = FiniteScalarQuantizer(space, **{**SMALL, **options})
    codec.initialise([fields])
    return codec


def ids_field(rows: list[list[int]]) -> Field:
    ids = torch.tensor(rows)
    return Field.full(ids, ids != 0, 0)


def error(codec: FiniteScalarQuantizer, fields: Field) -> float:
    """Mean squared error of what is real, as a share of its power."""
    with torch.no_grad():
        back = codec.decode(codec.encode(fields)).value[..., : fields.value.shape[-1]]
    seen = fields.mask[:, None] if codec.space.variable else 1
    return float(((back - fields.value) * seen).square().sum() / fields.value.square().sum())


def test_latent_spaces():
    assert FiniteScalarQuantizer(PICTURE, **SMALL).latent == Space("discrete", (16,), vocab=60)
    assert FiniteScalarQuantizer(PICTURE, codes=2, **SMALL).latent == Space("discrete", (32,), vocab=60)
    sound = FiniteScalarQuantizer(SOUND, codes=2, **SMALL).latent
    assert sound == Space("discrete", (21,), vocab=63, varies=0)


@pytest.mark.parametrize("codes", [1, 2])
def test_every_id_is_a_point_of_the_grid(codes):
    codec = FiniteScalarQuantizer(PICTURE, codes=codes, **SMALL)
    ids = torch.arange(60).view(1, -1, 1).expand(-1, -1, codes)
    digits = (ids[..., None] // codec.worth).flatten(-2) % codec.levels
    points = codec._value(digits)
    assert len(points.view(60, -1).unique(dim=0)) == 60
    assert points.abs().max() < 1
    assert torch.equal(codec._digits(points), digits)
    again = (codec._digits(points).unflatten(-1, (codes, -1)) * codec.worth).sum(-1)
    assert torch.equal(again, ids)


@pytest.mark.parametrize("codes", [1, 2])
@pytest.mark.parametrize(("space", "fields"), [(PICTURE, pictures(16)), (SOUND, sounds(8))], ids=["picture", "sound"])
def test_starts_as_quantised_components_and_improves(space, fields, codes):
    codec = made(space, fields, codes=codes)
    start = error(codec, fields)
    assert start < 0.4
    optimizer = torch.optim.Adam(codec.parameters(), lr=3e-3)
    for step in range(40):
        losses = codec.loss(fields, "model", make_keys(step, len(fields)))
        optimizer.zero_grad()
        sum(term.mean() for term in losses.values()).backward()
        optimizer.step()
    assert error(codec, fields) < start


def test_two_codes_of_a_place_tell_more_than_one():
    fields = sounds(8)
    assert error(made(SOUND, fields, codes=2), fields) < error(made(SOUND, fields), fields)


def test_a_sequence_ends_in_end_and_gives_the_length_back():
    fields = sounds(8)
    codec = made(SOUND, fields, codes=2)
    with torch.no_grad():
        code = codec.encode(fields)
        back = codec.decode(code)
    places = -(-fields.lengths // 4)
    assert torch.equal(code.lengths, 2 * places + 1)
    assert torch.equal(code.value.gather(1, 2 * places[:, None])[:, 0], torch.full((8,), END))
    assert ((code.value >= FIRST).sum(1) == 2 * places).all()
    assert torch.equal(back.lengths, (4 * places).clamp(max=40))


def test_whatever_a_head_writes_is_decoded():
    codec = made(SOUND, sounds(8), codes=2)
    with torch.no_grad():
        odd = codec.decode(ids_field([[1, 0, 0, 0, 0], [5, 1, 0, 0, 0], [5, 6, 7, 1, 0], [5, 6, 7, 8, 9]]))
        plain = codec.decode(ids_field([[5, 6, 1]]))
        longest = codec.decode(Field.full(torch.full((1, 21), 7), varies=0))
    assert odd.lengths.tolist() == [4, 4, 4, 8]
    torch.testing.assert_close(odd.value[2, :, :4], plain.value[0])
    assert torch.isfinite(odd.value).all()
    assert longest.value.shape == (1, 20, 40)


def test_usage_counts_codes():
    fields = pictures(16)
    codec = made(PICTURE, fields)
    used = codec.calibrate([fields])
    ids = codec.encode(fields).value
    assert used["codes"] == 60
    assert used["codes_used"] == len(ids.unique())
    assert 1 < used["perplexity"] <= used["codes_used"]
    flat = Field(torch.zeros(4, 3, 16, 16), torch.ones(4, 1, dtype=torch.bool), torch.ones(4, dtype=torch.bool))
    assert codec.usage([flat]) == {"codes": 60, "codes_used": 1, "perplexity": pytest.approx(1.0)}


def test_normal_components_use_all_levels_alike():
    codec = FiniteScalarQuantizer(PICTURE, **SMALL)
    z = normal(make_keys(0, 1), (20000, 3))[0]
    digits = codec._digits(torch.tanh(codec.SLOPE * z))
    for number, level in enumerate((5, 4, 3)):
        share = torch.bincount(digits[:, number], minlength=level) / len(z)
        assert share.min() > 0.85 / level
        assert share.max() < 1.15 / level


def test_gradients_pass_the_rounding():
    codec, fields = made(PICTURE, pictures(4)), pictures(4)
    sum(term.sum() for term in codec.loss(fields, "model", make_keys(0, 4)).values()).backward()
    gradient = codec.network.project.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    assert math.isfinite(float(gradient.norm()))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"levels": (8, 1)}, ("levels.1", "not 1", "greater than or equal to 2")),
        ({"levels": ()}, ("levels", "not 0", "at least 1 item")),
        ({"codes": 0}, ("codes", "not 0", "greater than 0")),
        ({"codes": 20}, ("patch", "60 numbers", "48")),
        ({"channels": (8, 12)}, ("channels: 12", "8", "a multiple of 4 that divides 32")),
    ],
)
def test_wrong_arguments(options, parts):
    with refused(*parts, by=ConfigError):
        FiniteScalarQuantizer(PICTURE, **{**SMALL, **options})
