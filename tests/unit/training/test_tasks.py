"""Tasks: the odds that a recipe asks for, whatever is missing."""

import itertools

import torch

from polymodal.config import TasksConfig
from polymodal.nn.random import make_keys
from polymodal.training.tasks import draw

NAMES = ("picture", "name", "speech")
EVERY = dict.fromkeys(NAMES, True)


def drawn(present, config, inputs=EVERY, outputs=EVERY):
    rows = len(next(iter(present.values())))
    return draw(present, inputs, outputs, config, make_keys(0, rows))


def everywhere(rows):
    return {name: torch.ones(rows, dtype=torch.bool) for name in NAMES}


def test_odds():
    task = drawn(everywhere(20_000), TasksConfig(none=0.2, one=0.5, some=0.3))
    given = torch.stack([task.visible[name] for name in NAMES]).sum(0)
    expected = [0.2, 0.5 + 0.3 / 2, 0.3 / 2]
    for count, share in enumerate(expected):
        assert abs(float((given == count).float().mean()) - share) < 0.015
    assert not (given == 3).any()


def test_everything_may_be_given_to_an_output_that_is_no_input():
    inputs = EVERY | {"picture": False}
    outputs = dict.fromkeys(NAMES, False) | {"picture": True}
    task = drawn(everywhere(20_000), TasksConfig(none=0.3, one=0.2, some=0, all=0.5), inputs, outputs)
    given = torch.stack([task.visible[name] for name in NAMES]).sum(0)
    for count, share in enumerate((0.3, 0.2, 0.5)):
        assert abs(float((given == count).float().mean()) - share) < 0.015
    assert task.target["picture"].all()


def test_subsets_of_a_joint_latent():
    task = drawn(everywhere(20_000), TasksConfig(none=0, one=0, some=1, reconstruct=True))
    bits = sum(task.visible[name].long() << place for place, name in enumerate(NAMES))
    assert not (bits == 0).any()
    for subset in range(1, 8):
        assert abs(float((bits == subset).float().mean()) - 1 / 7) < 0.015
    for name in NAMES:
        assert task.target[name].all()


def test_subsets_of_what_is_there():
    patterns = torch.tensor(list(itertools.product([False, True], repeat=3))).repeat(500, 1)
    present = dict(zip(NAMES, patterns.unbind(1), strict=True))
    task = drawn(present, TasksConfig(none=0, one=0, some=1, reconstruct=True))
    for name in NAMES:
        assert not (task.visible[name] & ~present[name]).any()
        assert torch.equal(task.target[name], present[name])
    given = torch.stack([task.visible[name] for name in NAMES]).any(0)
    assert torch.equal(given, patterns.any(1))


def test_odds_of_a_field():
    task = drawn(everywhere(20_000), TasksConfig(none=0, one=1, some=0, inputs={"speech": 2.0}))
    shares = [float(task.visible[name].float().mean()) for name in NAMES]
    for share, expected in zip(shares, (0.25, 0.25, 0.5), strict=True):
        assert abs(share - expected) < 0.015


def test_every_pattern_of_presence():
    patterns = torch.tensor(list(itertools.product([False, True], repeat=3))).repeat(500, 1)
    present = dict(zip(NAMES, patterns.unbind(1), strict=True))
    task = drawn(present, TasksConfig())
    for name in NAMES:
        assert not (task.visible[name] & ~present[name]).any()
        assert not (task.target[name] & ~present[name]).any()
        assert not (task.visible[name] & task.target[name])[patterns.sum(1) > 1].any()
        assert torch.equal(task.visible[name] | task.target[name], present[name])
    wanted = torch.stack([task.target[name] for name in NAMES]).any(0)
    assert torch.equal(wanted, patterns.any(1)), "a row with a single field must still teach it"


def test_roles():
    inputs, outputs = EVERY | {"speech": False}, EVERY | {"name": False}
    task = drawn(everywhere(2000), TasksConfig(), inputs, outputs)
    assert not task.visible["speech"].any()
    assert not task.target["name"].any()
    assert (task.target["picture"] | task.target["speech"]).all()


def test_rows_with_a_single_field_are_given_it_as_often_as_is_asked():
    present = everywhere(8000) | {"name": torch.zeros(8000, dtype=torch.bool)}
    present["speech"] = torch.arange(8000) % 2 == 0
    task = drawn(present, TasksConfig(alone=0.25))
    alone = ~present["speech"]
    assert task.target["picture"][alone].all()
    assert abs(float(task.visible["picture"][alone].float().mean()) - 0.25) < 0.03
    assert not (task.visible["picture"] & task.target["picture"])[~alone].any()
    never = drawn(present, TasksConfig(alone=0.0))
    assert not never.visible["picture"][alone].any()


def test_a_recipe_of_one_field_is_never_given_it():
    present = {"picture": torch.ones(100, dtype=torch.bool)}
    task = draw(present, {"picture": True}, {"picture": True}, TasksConfig(alone=1.0), make_keys(0, 100))
    assert not task.visible["picture"].any()
    assert task.target["picture"].all()


def test_of_many_fields_one_is_given_less_often():
    names = [f"field {number}" for number in range(6)]
    present = {name: torch.ones(20_000, dtype=torch.bool) for name in names}
    every = dict.fromkeys(names, True)
    task = drawn(present, TasksConfig(none=0.1, one=0.9, some=0.0, few=3), every, every)
    given = torch.stack([task.visible[name] for name in names]).sum(0)
    assert abs(float((given == 0).float().mean()) - 0.1) < 0.015
    for count in range(1, 6):  # half of the 0.9 go to any number from one to five
        expected = 0.45 * (count == 1) + 0.45 / 5
        assert abs(float((given == count).float().mean()) - expected) < 0.015
    assert torch.equal(torch.stack([task.target[name] for name in names]).sum(0), 6 - given)


def test_few_changes_nothing_for_few_fields():
    config = {"none": 0.1, "one": 0.7, "some": 0.2}
    plain, few = (drawn(everywhere(500), TasksConfig(**config, few=number)) for number in (None, 3))
    for name in NAMES:
        assert torch.equal(plain.visible[name], few.visible[name])
