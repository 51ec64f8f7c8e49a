"""What the model promises: any subset, absent is a mask, a step may be divided, players partition the parameters."""

import dataclasses
import itertools

import pytest
import torch

import polymodal as pm
from polymodal.condition import LATENT
from polymodal.config import load_recipe
from polymodal.model import MicroBatch, Model
from polymodal.nn.random import make_keys
from polymodal.training import tasks
from polymodal.types import Batch, Field, Task

FIELDS = ("picture", "name", "tone", "colour", "place")


@pytest.fixture(scope="module")
def model(trained) -> Model:
    return pm.open(trained).model


@pytest.fixture(scope="module")
def batch(trained) -> Batch:
    """12 training rows, some cells missing."""
    rows = pm.open(trained).data().train
    return rows.decode(rows.batch(torch.arange(12)))


def drawn(model: Model, batch: Batch, keys: torch.Tensor) -> Task:
    everything = dict.fromkeys(batch, True)
    return tasks.draw(
        {name: field.present for name, field in batch.items()}, everything, everything, model.recipe.tasks, keys
    )


def micro_batch(batch: Batch, task: Task, keys: torch.Tensor, places: torch.Tensor) -> MicroBatch:
    counts = {name: int(mask.sum()) for name, mask in task.target.items()}
    picked = Task(*({name: mask[places] for name, mask in group.items()} for group in (task.visible, task.target)))
    return MicroBatch(
        {name: field.pick(places) for name, field in batch.items()}, picked, keys[places], counts, len(keys)
    )


def spoiled(batch: Batch) -> Batch:
    """The batch with NaN, or a wrong id, wherever a field is absent."""
    result = {}
    for name, field in batch.items():
        value = field.value.clone()
        value[~field.present] = float("nan") if value.is_floating_point() else 0
        result[name] = dataclasses.replace(field, value=value)
    return result


def test_players_partition_the_parameters(model):
    moved = [id(p) for player in model.players for p in model.parameters_of(player)]
    frozen = [id(p) for p in model.codecs.parameters()]
    assert len(moved) == len(set(moved))
    assert set(moved) | set(frozen) == {id(p) for p in model.parameters()}
    assert not set(moved) & set(frozen)
    assert not any(p.requires_grad for p in model.codecs.parameters())


def test_every_subset_is_a_context(model, batch):
    contexts = []
    for count in range(len(FIELDS) + 1):
        for names in itertools.combinations(FIELDS, count):
            visible = {name: batch[name].present for name in names}
            context = model.condition(batch, visible, make_keys(0, 12)).context
            assert context.mask.any(1).all()
            assert torch.isfinite(context.pooled).all()
            contexts.append(context.pooled)
    assert len({tuple(pooled.flatten().tolist()) for pooled in contexts}) == len(contexts)


def test_an_absent_field_is_inert(model, batch):
    keys = make_keys(0, 12)
    task = drawn(model, batch, keys)
    losses = []
    for values in (batch, spoiled(batch)):
        model.zero_grad()
        loss, _ = model(micro_batch(values, task, keys, torch.arange(12)), "model")
        loss.backward()
        losses.append(loss)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert torch.equal(*losses)
    visible = {name: batch[name].present for name in ("name", "tone")}
    for name in ("name", "tone"):
        without = model.condition(batch, {name: visible[name]}, keys).context.pooled
        both = model.condition(batch, visible, keys).context.pooled
        other = next(iter({"name", "tone"} - {name}))
        absent = ~batch[other].present
        torch.testing.assert_close(both[absent], without[absent], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_step_is_the_sum_of_its_parts(model, batch, training):
    keys = make_keys(5, 12)
    task = drawn(model, batch, keys)
    try:
        model.train(training)
        whole, terms = model(micro_batch(batch, task, keys, torch.arange(12)), "model")
        parts = [model(micro_batch(batch, task, keys, places), "model") for places in torch.arange(12).split((5, 1, 6))]
    finally:
        model.eval()
    torch.testing.assert_close(sum(part for part, _ in parts), whole, rtol=1e-4, atol=1e-5)
    for name, term in terms.items():
        torch.testing.assert_close(sum(part[name] for _, part in parts if name in part), term, rtol=1e-4, atol=1e-5)


def test_views_of_a_row_are_rows_that_are_encoded_once(model, batch):
    keys = make_keys(7, 24)
    twice = {name: field.pick(torch.arange(12).repeat(2)) for name, field in batch.items()}
    task = drawn(model, twice, keys)
    whole, terms = model(micro_batch(twice, task, keys, torch.arange(24)), "model")
    tasks_per_row = micro_batch(twice, task, keys, torch.arange(24))
    calls = []
    hook = model.encoders["picture"].register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0].present)))
    loss, parts = model(dataclasses.replace(tasks_per_row, batch=batch, rows=12, tasks_per_row=2), "model")
    hook.remove()
    torch.testing.assert_close(loss, whole, rtol=1e-4, atol=1e-5)
    for name, term in terms.items():
        torch.testing.assert_close(parts[name], term, rtol=1e-4, atol=1e-5)
    assert len(calls) == 1
    assert calls[0] <= 12


def test_a_row_that_asks_for_nothing_has_a_loss_that_can_be_differentiated(model, batch):
    nothing = dict.fromkeys(FIELDS, torch.zeros(12, dtype=torch.bool))
    loss, terms = model(micro_batch(batch, Task(nothing, nothing), make_keys(0, 12), torch.arange(12)), "model")
    assert loss == 0
    assert not terms
    loss.backward()


def test_cached_latents_are_those_of_the_codec(model, batch):
    code = model.target(batch, "picture")
    assert code.value.shape[1:] == model.codecs["picture"].latent.shape
    assert model.target(batch | {"picture" + LATENT: code}, "picture") is code
    assert model.target(batch, "name") is batch["name"]


def test_later_fields_follow_earlier_ones(model):
    """Each output is conditioned on those before it: another first one changes the second."""
    rows, everywhere = 4, torch.ones(4, dtype=torch.bool)
    made = []
    for colour in (0, 1):
        given = {"colour": Field(torch.full((4, 1), colour), everywhere[:, None], everywhere)}
        made.append(
            model.sample(given, {"colour": everywhere}, {"place": everywhere}, make_keys(0, rows))["place"].value
        )
    assert not torch.allclose(*made)
    both = model.sample({}, {}, {"colour": everywhere, "place": everywhere}, make_keys(0, rows))
    given = {"colour": both["colour"]}
    again = model.sample(given, {"colour": everywhere}, {"place": everywhere}, make_keys(0, rows))
    torch.testing.assert_close(both["place"].value, again["place"].value)


def test_the_order_in_which_fields_are_named_does_not_matter(model):
    """What ids say is drawn first, and the longest of these."""
    everywhere = torch.ones(3, dtype=torch.bool)
    orders = [("place", "colour", "name", "tone"), ("tone", "name", "colour", "place")]
    one, other = (model.sample({}, {}, dict.fromkeys(order, everywhere), make_keys(1, 3)) for order in orders)
    assert list(one) == list(orders[0])
    assert all(torch.equal(one[name].value, other[name].value) for name in one)
    alone = model.sample({}, {}, {"name": everywhere}, make_keys(1, 3))
    assert torch.equal(alone["name"].value, one["name"].value)


def test_rows_may_each_want_other_fields(model, batch):
    visible = {name: field.present for name, field in batch.items()}
    to = {name: ~field.present for name, field in batch.items()}
    made = model.sample(batch, visible, to, make_keys(2, 12))
    for name in FIELDS:
        assert torch.equal(made[name].present, to[name])
    row = next(k for k in range(12) if to["colour"][k] or to["place"][k])
    one = torch.tensor([row])
    alone = model.sample(
        {name: field.pick(one) for name, field in batch.items()},
        {name: mask[one] for name, mask in visible.items()},
        {name: mask[one] for name, mask in to.items()},
        make_keys(2, 12)[one],
    )
    for name in ("colour", "place"):
        torch.testing.assert_close(alone[name].value[0].float(), made[name].value[row].float(), rtol=1e-4, atol=1e-4)


def test_roles_decide_what_is_built(recipe):
    fields = {"name": recipe["fields"]["name"], "colour": recipe["fields"]["colour"]}
    own = recipe | {
        "fields": {"name": fields["name"] | {"role": "input"}, "colour": fields["colour"] | {"role": "output"}}
    }
    modalities = {"name": pm.Text(max_length=16), "colour": pm.Label(["red", "blue"])}
    model = Model(load_recipe(own), modalities)
    assert list(model.encoders) == ["name"]
    assert list(model.heads) == ["colour"]
    with pytest.raises(pm.ConfigError, match="every role is 'input'"):
        Model(load_recipe(own | {"fields": {"name": fields["name"] | {"role": "input"}}}), {"name": modalities["name"]})
