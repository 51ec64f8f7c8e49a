"""One space of each sort, and values in it."""

from dataclasses import replace
from inspect import signature

import torch

from polymodal.nn.random import fold, make_keys, normal, uniform
from polymodal.types import Context, Field, Space

SPACES = {
    "picture": Space("continuous", (3, 16, 16)),
    "bounded": Space("continuous", (1, 16, 16), bounds=(-0.5, 1.0)),
    "odd": Space("continuous", (1, 7, 10)),
    "sound": Space("continuous", (12, 20), varies=1),
    "clip": Space("continuous", (3, 6, 8, 8), varies=1),
    "scroll": Space("continuous", (2, 6, 9), varies=2),
    "vector": Space("continuous", (4,)),
    "set": Space("continuous", (4, 12), is_set=True),
    "text": Space("discrete", (10,), vocab=40, varies=0),
    "label": Space("discrete", (1,), vocab=5),
    "codes": Space("discrete", (6,), vocab=9),
}
WIDTH = 16


def needs_model(part: type) -> bool:
    """Whether a part is one of a model that its user names, and so is tested with tiny models of its own."""
    model = signature(part).parameters.get("model")
    return model is not None and model.default is model.empty


def make_field(space: Space, rows: int = 4, seed: int = 0) -> Field:
    """Random values, all present; lengths differ where they vary, text ends in its end."""
    keys = make_keys(seed, rows)
    length = space.max_length
    lengths = (
        2 + (uniform(fold(keys, 1)) * (length - 1)).long() if space.variable else torch.ones(rows, dtype=torch.long)
    )
    mask = torch.arange(length) < lengths[:, None]
    if space.kind == "continuous":
        value = normal(keys, space.shape)
        value = value.clamp(*space.bounds) if space.bounds else value
    else:
        first = 3 if space.variable else 0
        value = first + (uniform(keys, space.shape) * (space.vocab - first)).long()
    if space.variable and space.kind == "discrete":
        value[torch.arange(rows), lengths - 1] = 1
    field = Field.full(value, mask, space.varies)
    return field.with_value(value) if space.variable else field


def make_text(*rows: list[int]) -> Field:
    """Rows of ids of text, the shorter ones padded."""
    length = max(map(len, rows))
    value = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])
    return Field.full(value, value != 0, 0)


def behind_mask(field: Field, fill: float) -> Field:
    """The field with other values where nothing is real."""
    return replace(field, value=field.value.masked_fill(~field.real, fill))


def make_context(rows: int = 4, tokens: int = 5, seed: int = 7) -> Context:
    """Random tokens, of which each row has some."""
    keys = make_keys(seed, rows)
    mask = torch.arange(tokens) < 1 + (uniform(fold(keys, 1)) * tokens).long()[:, None]
    x = normal(keys, (tokens, WIDTH)) * mask[..., None]
    return Context(x, mask, normal(fold(keys, 2), (WIDTH,)))


def assert_well_formed(field: Field, space: Space) -> None:
    """Values are in the space, real positions come first, and nothing lies behind the mask."""
    assert field.present.all()
    assert field.mask.dtype == torch.bool
    assert field.varies == space.varies
    assert field.mask.shape[1] <= space.max_length
    assert [side for axis, side in enumerate(field.value.shape[1:]) if axis != space.varies] == list(space.rest)
    if space.variable:
        assert (field.mask[:, 1:] <= field.mask[:, :-1]).all()
        assert field.mask[:, 0].all()
        assert (field.value.masked_fill(field.real, 0) == 0).all()
    else:
        assert field.mask.shape == (len(field), 1)
    if space.kind == "discrete":
        assert not field.value.is_floating_point()
        assert field.value.min() >= 0
        assert field.value.max() < space.vocab
    else:
        assert torch.isfinite(field.value).all()
        low, high = space.bounds or (-torch.inf, torch.inf)
        assert low <= field.value.min()
        assert field.value.max() <= high
