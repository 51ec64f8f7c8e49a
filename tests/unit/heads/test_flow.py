"""The flow head: what it accepts, how it samples, and that it learns a distribution that is known."""

from dataclasses import replace

import pytest
import torch

import polymodal as pm
from polymodal.config import load_recipe
from polymodal.errors import ConfigError
from polymodal.heads.flow import SHORTCUTS, Flow
from polymodal.model import Model
from polymodal.nn.random import fold, make_keys, normal, uniform
from polymodal.resolution import resolve
from polymodal.types import Context, Field, Space, Tokens
from refusals import refused


def context(rows: int, width: int = 16, tokens: int = 3) -> Context:
    x = normal(make_keys(5, rows), (tokens, width))
    return Context(x, torch.ones(rows, tokens, dtype=torch.bool), x.mean(1))


def full(value: torch.Tensor) -> Field:
    mask = torch.ones(len(value), 1, dtype=torch.bool)
    return Field(value, mask, mask[:, 0])


def wake(head: Flow) -> Flow:
    """A fresh head's last layer is zero; random weights make what it gives depend on everything."""
    torch.manual_seed(0)
    for parameter in head.parameters():
        parameter.data.normal_(std=0.1)
    if head.network.condition.reach is not None:
        head.network.condition.reach.weight.data[-1] = 0  # the velocity itself
    return head


SPACES = {
    "vector": (Space("continuous", (5,)), {}),
    "sequence": (Space("continuous", (4, 12), varies=1), {"patch": 2}),
    "sequence in step": (Space("continuous", (4, 12), varies=1), {"patch": 2, "in_step": True}),
    "picture": (Space("continuous", (3, 8, 8)), {"patch": 4}),
    "clip": (Space("continuous", (2, 4, 4, 4)), {"patch": 2}),
    "clip of any length": (Space("continuous", (2, 5, 4, 4), varies=1), {"patch": 2}),
    "clip of any length, attended to in turn": (
        Space("continuous", (2, 5, 4, 4), varies=1),
        {"patch": (1, 2, 2), "factorised": True},
    ),
    "clip of any length by a U-Net": (
        Space("continuous", (2, 5, 4, 4), varies=1),
        {"patch": (1, 2, 2), "channels": (8, 16)},
    ),
    "clip as a picture, by a U-Net": (
        Space("continuous", (2, 5, 4, 4), varies=1),
        {"patch": (5, 1, 1), "channels": (8, 16), "sketch": True},
    ),
    "sequence by a U-Net": (Space("continuous", (4, 12), varies=1), {"patch": 2, "channels": (8, 16)}),
    "pages of any height": (Space("continuous", (2, 3, 9, 4), varies=2), {"patch": (2, 2, 3)}),
    "odd picture": (Space("continuous", (3, 7, 10)), {"patch": 4}),
    "picture by a U-Net": (Space("continuous", (3, 8, 8)), {"patch": 2, "channels": (8, 16)}),
    "odd picture by a U-Net": (Space("continuous", (3, 7, 10)), {"patch": 2, "channels": (8, 16)}),
}


@pytest.mark.parametrize("kind", SPACES)
def test_sample_k_equals_that_sample_alone(kind):
    space, options = SPACES[kind]
    head = wake(Flow(space, 16, depth=2, heads=2, **options))
    given, nothing, keys = context(4), context(4, tokens=1), make_keys(3, 4)
    together = head.sample(given, keys, unconditional=nothing, steps=3)
    row = torch.tensor([2])
    alone = head.sample(given.pick(row), keys[row], unconditional=nothing.pick(row), steps=3)
    assert together.lengths[2] == alone.lengths[0]
    torch.testing.assert_close(together.values()[2], alone.values()[0], rtol=1e-4, atol=1e-5)
    assert [side for axis, side in enumerate(together.value.shape[1:]) if axis != space.varies] == list(space.rest)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (Space("continuous", (4, 6, 12), varies=2), "first side alone"),
        (Space("continuous", (4,)), "one to three dimensions; this has 0"),
    ],
)
def test_a_unet_says_what_it_cannot_model(space, says):
    with pytest.raises(ConfigError, match=says):
        Flow(space, 16, channels=(8, 16))


def test_patches_as_long_as_a_clip_are_convolved_as_a_picture():
    head = Flow(Space("continuous", (2, 5, 4, 4), varies=1), 16, patch=(5, 1, 1), channels=(8, 16), sketch=True)
    assert head.network.unet.proj_in.weight.shape == (8, 2 * 5, 3, 3)
    assert head.network.unet.sketch is not None


def test_predicted_data_are_held_to_the_bounds():
    head = wake(Flow(Space("continuous", (1, 8, 8), bounds=(-1.0, 1.0)), 16, channels=(8, 16), patch=2, predict="data"))
    x, time = 9 * normal(make_keys(1, 2), (16, 4)), torch.tensor([0.0, 0.5])
    data = x + (1 - time)[:, None, None] * head.velocity(x, torch.ones(2, 16, dtype=torch.bool), time, context(2))
    assert data.min() >= -1 - 1e-5
    assert data.max() <= 1 + 1e-5


def test_padding_does_not_change_the_loss():
    space, options = SPACES["sequence"]
    head = wake(Flow(space, 16, depth=2, heads=2, **options))
    value = normal(make_keys(1, 2), (4, 12))
    mask = torch.arange(12) < torch.tensor([6, 12])[:, None]
    rubbish = torch.where(mask[:, None], value, torch.full_like(value, 9.0))
    clean = torch.where(mask[:, None], value, torch.zeros_like(value))
    present = torch.ones(2, dtype=torch.bool)
    losses = [head.loss(context(2), Field(v, mask, present, 1), "model", make_keys(0, 2)) for v in (rubbish, clean)]
    torch.testing.assert_close(losses[0]["length"], losses[1]["length"])
    torch.testing.assert_close(losses[0]["flow"], losses[1]["flow"])


def test_a_step_costs_the_same_context_however_often_it_is_repeated():
    space, options = SPACES["picture"]
    once, often = (wake(Flow(space, 16, depth=1, heads=2, repeats=r, **options)) for r in (1, 3))
    target, keys = full(normal(make_keys(1, 2), (3, 8, 8))), make_keys(0, 2)
    assert once.loss(context(2), target, "model", keys)["flow"].shape == (2,)
    x, time = normal(make_keys(2, 6), (4, 48)), uniform(make_keys(3, 6))
    mask = torch.ones(6, 4, dtype=torch.bool)
    shared = often.velocity(x, mask, time, context(2))
    copied = often.velocity(x, mask, time, context(2).pick(torch.arange(2).repeat_interleave(3)))
    torch.testing.assert_close(shared, copied)


def test_guidance_of_one_is_no_guidance_and_two_differs():
    space, options = SPACES["picture"]
    head = wake(Flow(space, 16, depth=2, heads=2, **options))
    given, nothing, keys = context(2), context(2, tokens=1), make_keys(3, 2)
    plain = head.sample(given, keys, steps=4).value
    one = head.sample(given, keys, unconditional=nothing, guidance=1.0, steps=4).value
    two = head.sample(given, keys, unconditional=nothing, guidance=2.0, guidance_interval=(0.0, 1.0), steps=4).value
    never = head.sample(given, keys, unconditional=nothing, guidance=2.0, guidance_interval=(2.0, 3.0), steps=4).value
    assert torch.equal(plain, one)
    assert torch.equal(plain, never)
    assert not torch.allclose(plain, two)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"step": 4}, ("options", "'step'", "'steps'")),
        ({"solver": "eular"}, ("options.solver", "'eular'", "'euler'", "'heun'", "'midpoint'")),
        ({"steps": 0}, ("options.steps", "not 0")),
    ],
)
def test_wrong_options(options, parts):
    head = Flow(Space("continuous", (5,)), 16, depth=1, heads=2)
    with refused(*parts, by=ConfigError):
        head.sample(context(1), make_keys(0, 1), **options)


@pytest.mark.parametrize(
    ("shape", "patch", "fits"),
    [
        ((3, 8, 8), 8, 8),
        ((3, 4, 4), 8, 4),
        ((3, 6, 8), 8, (6, 8)),
        ((3, 13, 13), 8, 7),
        ((3, 8, 8), (2, 4), (2, 4)),
        ((3, 32, 32), None, 1),
        ((3, 16, 64, 64), None, (2, 8, 8)),
        ((3, 16, 16, 64), None, (2, 2, 8)),
        ((5,), None, 1),
    ],
)
def test_a_patch_fits_the_grid(shape, patch, fits):
    space = Space("continuous", shape)
    head = Flow(space, 16, patch=patch, depth=1)
    assert head.sizes == {"patch": fits}
    again = Flow(space, 16, patch=fits, depth=1)
    assert again.sizes == head.sizes


def test_patches_grow_until_there_are_few_tokens():
    sides = {(8, 8): 1, (13, 13): 2, (16, 8): (2, 1), (32, 32): 4}
    for grid, patch in sides.items():
        assert Flow(Space("continuous", (2, *grid)), 16, tokens=64, depth=1).sizes == {"patch": patch}
    assert Flow(Space("continuous", (2, 32, 32)), 16, tokens=64, patch=2, depth=1).sizes == {"patch": 2}


@pytest.mark.parametrize(
    ("patch", "parts"),
    [(0, ("patch.0", "not 0")), ((), ("patch", "at least 1")), ((2, 2, 2), ("patch: 3 sides", "2 axes"))],
)
def test_a_patch_that_is_none(patch, parts):
    with refused(*parts, by=ConfigError):
        Flow(Space("continuous", (3, 8, 8)), 16, patch=patch)


@pytest.mark.parametrize("predict", ["data", "velocity"])
def test_learns_a_mixture_and_its_condition(predict):
    """Two clusters in the plane, chosen by the context: every sample lands in the one asked for.

    The spread within a cluster is checked for velocities only: predicted data learn fine detail last, see the head.
    """
    torch.manual_seed(0)
    centres = torch.tensor([[1.5, 1.5], [-1.5, -1.5]])
    head = Flow(Space("continuous", (2,)), 8, hidden_size=32, depth=2, heads=2, predict=predict, steps=10, guidance=1.0)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    which = torch.arange(64) % 2
    marks = torch.eye(8)[which]
    told = Context(marks[:, None], torch.ones(64, 1, dtype=torch.bool), marks)
    for step in range(250):
        data = centres[which] + 0.2 * normal(make_keys(1, 64, start=64 * step), (2,))
        loss = head.loss(told, full(data), "model", make_keys(2, 64, start=64 * step))["flow"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    samples = head.sample(told, make_keys(9, 64)).value
    assert (torch.cdist(samples, centres).argmin(1) == which).float().mean() > 0.97
    for cluster in (0, 1):
        own = samples[which == cluster]
        assert (own.mean(0) - centres[cluster]).abs().max() < 0.25
        assert own.std(0).mean() < 0.4
        assert predict == "data" or own.std(0).mean() > 0.1


def test_shortcuts_of_one_row_do_not_depend_on_the_others():
    space, options = SPACES["sequence"]
    head = wake(Flow(space, 16, depth=1, heads=2, repeats=2, shortcuts=3, guidance=3.0, **options))
    value, keys = normal(make_keys(1, 4), (4, 12)), make_keys(0, 4)
    mask = torch.arange(12) < torch.tensor([6, 12, 3, 9])[:, None]
    target = Field(value * mask[:, None], mask, torch.ones(4, dtype=torch.bool), 1)
    given = context(4)
    given.nothing = context(1, tokens=1)
    together = head.loss(given, target, "model", keys)
    assert together.keys() == {"length", "flow", "shortcut"}
    for k in range(4):
        row = torch.tensor([k])
        alone = head.loss(given.pick(row), target.pick(row), "model", keys[row])
        for name, term in together.items():
            torch.testing.assert_close(alone[name][0], term[k], rtol=1e-4, atol=1e-5)
    samples = [head.sample(given.pick(rows), keys[rows], steps=2) for rows in (torch.arange(4), torch.tensor([1]))]
    length = int(samples[1].mask.sum())
    torch.testing.assert_close(samples[0].value[1, :, :length], samples[1].value[0], rtol=1e-4, atol=1e-5)


def test_a_shortcut_is_taught_by_two_of_half_its_length_and_the_shortest_by_guided_steps():
    head = wake(Flow(Space("continuous", (5,)), 16, depth=1, heads=2, shortcuts=1, guidance=3.0))
    finest = len(SHORTCUTS) - 1
    given, x, mask = context(2), normal(make_keys(1, 2), (1, 5)), torch.ones(2, 1, dtype=torch.bool)
    given.nothing = context(1, tokens=1)
    free = given.nothing.pick(torch.tensor([0, 0]))
    time, level = torch.tensor([0.5, 0.0]), torch.tensor([finest, 1])
    taught = head._two_halves(x, mask, time, level, given)

    def guided(x, time):
        return torch.lerp(head.velocity(x, mask, time, free), head.velocity(x, mask, time, given), 3.0)

    def jump(x, time):
        return head.velocity(x, mask, time, given, torch.tensor([finest + 1, 2]))

    for row, step in ((0, guided), (1, jump)):
        half = 0.5 / SHORTCUTS[int(level[row])]
        first = step(x, time)
        expected = (first + step(x + half * first, time + half)) / 2
        torch.testing.assert_close(taught[row], expected[row])


def test_one_step_learns_the_exact_map_of_a_gaussian():
    """The flow of noise to N(m, s^2) takes z to m + s z; a plain step from noise takes every z to m."""
    torch.manual_seed(0)
    mean, std = torch.tensor([1.0, -0.5]), 0.6
    head = Flow(Space("continuous", (2,)), 8, hidden_size=32, depth=2, heads=2, repeats=4, shortcuts=4, guidance=1.0)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    given = Context(torch.zeros(64, 1, 8), torch.ones(64, 1, dtype=torch.bool), torch.zeros(64, 8))
    for step in range(400):
        data = mean + std * normal(make_keys(1, 64, start=64 * step), (2,))
        losses = head.loss(given, full(data), "model", make_keys(2, 64, start=64 * step))
        optimizer.zero_grad()
        (losses["flow"] + losses["shortcut"]).mean().backward()
        optimizer.step()
    keys = make_keys(9, 64)
    exact = mean + std * normal(fold(keys, 0), (2,))
    errors = {steps: (head.sample(given, keys, steps=steps).value - exact).abs().mean() for steps in (1, 4, 25)}
    assert errors[1] < 0.2
    assert errors[4] < 0.15
    assert errors[25] < 0.15
    head.shortcuts = 0
    assert (head.sample(given, keys, steps=1).value - mean).abs().mean() < 0.2


@pytest.mark.parametrize(
    ("option", "value"), [("guidance", 2.0), ("guidance_interval", [0.0, 0.5]), ("solver", "midpoint")]
)
def test_a_shortcut_refuses_what_it_would_ignore(option, value):
    head = Flow(Space("continuous", (5,)), 16, depth=1, heads=2, shortcuts=1, guidance=3.0)
    with refused(f"options.{option}", "shortcut of 4 steps", "25", by=ConfigError):
        head.options_with({"steps": 4, option: value})
    assert getattr(head.options_with({"steps": 25, option: value}), option) == (
        tuple(value) if isinstance(value, list) else value
    )
    assert head.options_with({"steps": 4, "solver": "euler"}).steps == 4  # which is how shortcuts are taken


def test_shortcuts_know_one_guidance():
    head = Flow(Space("continuous", (5,)), 16, depth=1, heads=2, shortcuts=1, guidance=3.0)
    with refused("options.guidance", "4 steps", "3.0", "not 2.0", by=ConfigError):
        head.sample(context(1), make_keys(0, 1), steps=4, guidance=2.0)
    assert head.sample(context(1), make_keys(0, 1), steps=5, guidance=2.0).value.shape == (1, 5)


def test_a_model_tells_its_heads_what_nothing_looks_like(world, recipe, tmp_path):
    head = {"kind": "flow", "depth": 1, "heads": 2, "repeats": 1, "shortcuts": 1, "guidance": 3.0, "steps": 4}
    fields = {"place": recipe["fields"]["place"] | {"head": head}, "colour": recipe["fields"]["colour"]}
    defaults = {"label": recipe["defaults"]["label"], "vector": recipe["defaults"]["vector"]}
    trained = pm.fit(recipe | {"fields": fields, "defaults": defaults}, world / "rows.jsonl", run=tmp_path, steps=3)
    assert '"place.shortcut"' in (tmp_path / "metrics.jsonl").read_text()
    made = trained.generate({"colour": "red"}, to="place", n=2)["place"]
    assert made[0].shape == (2,)


def test_late_times_weigh_no_more_than_the_cap():
    space = Space("continuous", (3, 8, 8))
    target, keys = full(normal(make_keys(1, 64), (3, 8, 8))), make_keys(0, 64)
    free, capped, fresh = (
        wake(Flow(space, 16, depth=1, heads=2, patch=4, repeats=1, predict="data", time_std=3.0, weight_cap=cap))
        for cap in (1e9, 4.0, 1.0)
    )
    time = torch.sigmoid(3.0 * normal(fold(fold(keys, torch.zeros(64, dtype=torch.long)), 1)))
    losses = [head.loss(context(64), target, "model", keys)["flow"] for head in (free, capped, fresh)]
    torch.testing.assert_close(losses[1], losses[0] * (4 * (1 - time).square()).clamp(max=1))
    torch.testing.assert_close(losses[2], losses[0] * (1 - time).square())


def test_a_value_in_step_begins_by_looking_where_it_is():
    """Else a flow has to learn, of every place, which of the tokens are of its own time, whatever their rate."""
    head = Flow(Space("continuous", (1, 20), varies=1), 16, depth=1, heads=4, patch=2, in_step=True)
    given = context(3, tokens=1 + 40)  # a token without a place, and forty for the ten of the value
    times = torch.cat([-torch.ones(1), (torch.arange(40) + 0.5) / 40])
    given = replace(given, places=torch.stack([times, -torch.ones(41)], dim=1).expand(3, -1, -1))
    x = torch.zeros(3 * 2, 8, 2)  # two draws of each row, of values that are shorter than the longest
    bias = head.network.bias(x, torch.ones(6, 8, dtype=torch.bool), given).detach()
    assert bias.shape == (3, 4, 2 * 8, 41)
    assert (bias[..., 0] == 0).all()
    assert (bias[:, 2:] == 0).all()
    for token in range(8):
        own = bias[0, 0, token, 1:]
        assert set(own.topk(2).indices.tolist()) == {4 * token + 1, 4 * token + 2}  # the middle two of its four
        assert torch.equal(own, bias[2, 0, 8 + token, 1:])
        assert own[4 * token + 6] == pytest.approx(float(own.max()) - 1.0)  # one token of the value further
    assert head.network.bias(x, torch.ones(6, 8, dtype=torch.bool), context(3)) is None


def test_a_value_in_step_with_what_has_an_order_alone_begins_along_the_diagonal():
    """As speech with its text: of both, the share of their own length counts."""
    head = Flow(Space("continuous", (1, 20), varies=1), 16, depth=1, heads=4, patch=2, in_step=True)
    real = torch.arange(10) < torch.tensor([[10], [4]])  # of tokens, two for each of the text's, and as many as those
    text = Tokens(torch.zeros(2, 5, 16), torch.arange(5) < torch.tensor([[5], [4]]), ordered=True)
    given = replace(context(2, tokens=5), places=text.places_in_row)
    bias = head.network.bias(torch.zeros(4, 10, 2), real.repeat_interleave(2, 0), given).detach()
    for token in range(10):
        assert bias[0, 0, token].argmax() == token // 2
        assert torch.equal(bias[0, 0, token], bias[0, 0, 10 + token])  # another draw of the row
    for token in range(4):
        assert bias[1, 0, token].argmax() == token
        assert bias[1, 0, token, token] == pytest.approx(0.0, abs=1e-5)
        assert bias[1, 1, token, 0] == pytest.approx(-0.5 * token, abs=1e-5)  # the next head's slope is a half
    assert (bias[:, 2:] == 0).all()


def test_in_step_needs_an_axis_that_varies():
    with pytest.raises(ConfigError, match=r"in_step: .* length varies"):
        Flow(Space("continuous", (4, 12)), 16, in_step=True)


@pytest.mark.parametrize(("encoder", "factor"), [({"kind": "patches", "patch": 2}, 2), ({"kind": "spectrogram"}, 8)])
def test_the_places_of_tokens_reach_the_head(encoder, factor):
    known = {"sound": pm.Series(1, 2.0, 20), "mouth": pm.Series(1, 2.0, 10)}
    fields = {
        "sound": {"modality": "series", "channels": 1, "max_seconds": 2.0, "rate_hz": 20, "role": "input"},
        "mouth": {"modality": "series", "channels": 1, "max_seconds": 2.0, "rate_hz": 10, "role": "output"},
    }
    fields["sound"]["encoder"], fields["mouth"]["head"] = encoder, {"kind": "flow", "in_step": True}
    model = Model(resolve(load_recipe({"width": 16, "fields": fields}), known), known)
    real = torch.arange(40) < torch.tensor([[30], [40], [24]])
    sound = Field.full(torch.randn(3, 1, 40), real, 1)
    visible = torch.tensor([True, False, True])
    context, _ = model.condition({"sound": sound}, {"sound": visible}, make_keys(0, 3)).of("mouth")
    assert context.mask.sum(1).tolist() == [1 + -(-30 // factor), 1, 1 + 24 // factor]
    for row in (0, 2):
        places, orders = context.places[row][context.mask[row]].unbind(1)
        assert (orders == -1).all()
        expected = (torch.arange(len(places) - 1) + 0.5) * factor / 40
        torch.testing.assert_close(places, torch.cat([-torch.ones(1), expected]))
    made = model.heads["mouth"].sample(
        context, make_keys(1, 3), guidance=2.0, unconditional=context.pick(torch.ones(3).long())
    )
    assert made.value.isfinite().all()
