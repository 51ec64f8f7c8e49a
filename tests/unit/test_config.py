"""Recipes: what is merged, what is checked, what is derived."""

from importlib.resources import files

import pytest

from polymodal.config import load_recipe, recipe_names, recipe_notes
from polymodal.encoders import ENCODERS
from polymodal.errors import ConfigError
from polymodal.heads import HEADS
from polymodal.parts import build_part
from polymodal.types import Space
from polymodal.yaml_text import parse_override
from refusals import refused


def test_every_shipped_recipe_is_right_and_described():
    assert "any-to-any" in recipe_names()
    for name in recipe_names():
        assert load_recipe(name).description


def test_arguments_of_the_modality_stand_beside_the_fields_own():
    recipe = load_recipe({"fields": {"p": {"modality": "image", "size": 32, "weight": 2, "column": "img"}}})
    field = recipe.fields["p"]
    assert (field.arguments, field.weight, field.column) == ({"size": 32}, 2, "img")
    assert load_recipe(recipe) == recipe
    assert load_recipe(recipe.model_dump(mode="json")) == recipe


def test_parts_are_merged_where_the_kind_is_the_same():
    recipe = load_recipe(
        {
            "fields": {
                "a": {"modality": "text", "head": {"kind": "autoregressive", "depth": 2}},
                "b": {"modality": "text", "head": {"depth": 2}},
                "c": {"modality": "text", "head": {"kind": "recurrent"}},
            },
            "defaults": {"text": {"head": {"kind": "autoregressive", "heads": 8}}},
        }
    )
    assert recipe.parts("a").head == recipe.parts("b").head == {"kind": "autoregressive", "heads": 8, "depth": 2}
    assert recipe.parts("c").head == {"kind": "recurrent"}
    assert recipe.parts("a").encoder is None


def test_overrides_reach_deep_and_one_budget_replaces_the_other():
    recipe = load_recipe(
        {"train": {"minutes": 3}}, {"train.steps": 5, "defaults.text.head": {"kind": "flow"}, "width": 64}
    )
    assert (recipe.train.minutes, recipe.train.steps, recipe.width) == (None, 5, 64)
    assert recipe.defaults["text"].head == {"kind": "flow"}
    given = {"train": {"seed": 1}}
    load_recipe(given, {"train.seed": 2})
    assert given == {"train": {"seed": 1}}  # what a user gave is not changed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("train.minutes=10", ("train.minutes", 10)),
        ("fusion={kind: attention, depth: 1}", ("fusion", {"kind": "attention", "depth": 1})),
        ("description=a=b", ("description", "a=b")),
        ("train.steps=null", ("train.steps", None)),
    ],
)
def test_overrides_are_yaml(text, parsed):
    assert parse_override(text) == parsed


@pytest.mark.parametrize(
    ("tree", "parts"),
    [
        ({"trian": {}}, ("Recipe", "'trian'", "'train'")),
        ({"train": {"batch": 3}}, ("train", "'batch'", "'batch_size'")),
        ({"train": {"batch_size": 0}}, ("train.batch_size", "not 0", "greater than or equal to 1")),
        ({"train": {"minutes": 1, "steps": 1}}, ("train", "minutes", "steps", "give one")),
        ({"train": {"warmup": 0.3, "decay": 0.8}}, ("train", "warmup 0.3", "decay 0.8")),
        ({"tasks": {"none": 0, "one": 0, "some": 0}}, ("tasks", "none, one, some and all", "0")),
        ({"fields": {"x": {}}}, ("fields.x.modality", "required")),
        ({"fields": {"x": {"modality": "imag"}}}, ("fields.x.modality", "'imag'", "'image'")),
        ({"fields": {"x": {"modality": "image", "size": 0}}}, ("fields.x.size", "0")),
        ({"defaults": {"imag": {}}}, ("defaults", "'imag'", "'image'")),
        (
            {"fields": {"x": {"modality": "text", "role": "in"}}},
            ("fields.x.role", "'in'", "'input', 'output' or 'both'"),
        ),
    ],
)
def test_mistakes_are_placed(tree, parts):
    with refused(*parts, by=ConfigError):
        load_recipe(tree)


WRONG_PARTS = {
    "encoder": ({"kind": "picture", "stages": 0}, "stages"),
    "codec": ({"kind": "fsq", "levels": [8, 1]}, "levels.1"),
    "head": ({"kind": "masked", "dropout": 1.5}, "dropout"),
    "vocoder": ({"kind": "istft", "depth": "deep"}, "depth"),
}
WRONG_TREES = [
    *(({"defaults": {"text": {family: part}}}, f"defaults.text.{family}.{name}")
      for family, (part, name) in WRONG_PARTS.items()),
    *(({"fields": {"x": {"modality": "text", family: part}}}, f"fields.x.{family}.{name}")
      for family, (part, name) in WRONG_PARTS.items()),
    ({"fusion": {"kind": "poe", "latent": 7}}, "fusion.latent"),
    ({"alignment": {"kind": "cca", "size": 0}}, "alignment.size"),
    ({"train": {"balance": {"kind": "dwa", "temperature": 0}}}, "train.balance.temperature"),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "place"), WRONG_TREES)
def test_the_bounds_of_every_part_are_checked_whatever_the_data(tree, place):
    with refused(f"{place}: input should be ", ", not ", by=ConfigError):
        load_recipe(tree)


@pytest.mark.parametrize("family", ["encoder", "codec", "head", "vocoder"])
def test_kinds_and_names_of_every_part_are_checked_whatever_the_data(family):
    for group, name in (("fields", "x"), ("defaults", "text")):
        where = f"{group}.{name}.{family}"
        for part, parts in (
            ({"kind": "nonsense"}, (f"{where}.kind", "'nonsense'", "unknown")),
            ({"depth": 3}, (f"{where}.kind", "missing")),
            ({**WRONG_PARTS[family][0], "deptj": 1}, (where, "'deptj'", "unknown")),
        ):
            with refused(*parts, by=ConfigError):
                load_recipe({group: {name: {"modality": "text"} if group == "fields" else {}}}, {where: part})


def test_arguments_of_a_field_are_checked_together_with_the_defaults():
    tree = {
        "fields": {"x": {"modality": "text", "head": {"dept": 2}}},
        "defaults": {"text": {"head": {"kind": "masked"}}},
    }
    with refused("fields.x.head", "'dept'", "'depth'", by=ConfigError):
        load_recipe(tree)


def test_several_mistakes_are_all_told():
    with pytest.raises(ConfigError) as error:
        load_recipe({"width": "wide", "train": {"keep": 0}})
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b\n", "3"])
def test_a_file_that_is_no_recipe(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"recipe .*r\.yaml: (not valid YAML|a mapping of keys is needed)"):
        load_recipe(tmp_path / "r.yaml")


def test_the_constructor_is_the_schema():
    space = Space("continuous", (3, 16, 16))
    part = build_part("encoder", {"kind": "picture", "depth": 1, "stages": 2}, "fields.p.encoder", space, 16)
    assert isinstance(part, ENCODERS["picture"])
    with refused("fields.p.encoder", "'dept'", "'depth'", by=ConfigError):
        build_part("encoder", {"kind": "picture", "dept": 1}, "fields.p.encoder", space, 16)
    with refused("head.steps", "not 'x'", "integer", by=ConfigError):
        build_part("head", {"kind": "flow", "steps": "x"}, "head", space, 16)
    with refused("head.patch.0", "not 0", by=ConfigError):
        build_part("head", {"kind": "flow", "patch": 0}, "head", space, 16)
    with refused("head.kind", "missing", *HEADS, by=ConfigError):
        build_part("head", {"depth": 3}, "head", space, 16)
    assert set(HEADS) >= {"flow", "autoregressive"}


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_short_and_say_how_they_are_run_and_what_they_reach(name):
    command, *reached = recipe_notes(name)
    assert command.startswith(f"polymodal train {name} --data ")
    assert "minutes on 2 cores" in " ".join(reached)
    lines = (files("polymodal") / "recipes" / f"{name}.yaml").read_text().splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120
    assert load_recipe(name).description.endswith(".")


def test_a_bare_no_of_yaml_is_the_precision_no():
    assert load_recipe({}, dict([parse_override("train.precision=no")])).train.precision == "no"


def test_small_fields_have_parts_of_their_own():
    recipe = load_recipe(
        {
            "fields": {"icon": {"modality": "image", "size": 32, "head": {"depth": 1}}},
            "defaults": {
                "image": {
                    "encoder": {"kind": "picture", "stages": 2},
                    "codec": {"kind": "kl"},
                    "head": {"kind": "flow", "depth": 3, "repeats": 2},
                    "small": {"places": 1024, "head": {"kind": "flow", "channels": [8]}},
                }
            },
        }
    )
    small, large = (recipe.parts("icon", Space("continuous", (3, side, side))) for side in (32, 33))
    assert small.encoder == large.encoder == {"kind": "picture", "stages": 2}
    assert (small.codec, large.codec) == (None, {"kind": "kl"})
    assert small.head == {"kind": "flow", "channels": [8], "depth": 1}
    assert large.head == recipe.parts("icon").head == {"kind": "flow", "depth": 1, "repeats": 2}


SCRATCH = {
    "codec": {"kind": "trained"},
    "head": {"kind": "flow", "channels": [8]},
    "from_scratch": {"codec": {"kind": "kl"}, "head": {"kind": "flow", "depth": 3}},
    "small": {"places": 1024, "head": {"kind": "flow", "depth": 1}},
}


@pytest.mark.parametrize(
    ("from_scratch", "space", "codec", "head"),
    [
        (False, Space("continuous", (3, 64, 64), bounds=(-1, 1)), "trained", {"channels": [8]}),
        (False, None, "trained", {"channels": [8]}),
        (False, Space("continuous", (4, 64, 64), bounds=(-1, 1)), "kl", {"depth": 3}),  # it takes no four channels
        (True, Space("continuous", (3, 64, 64), bounds=(-1, 1)), "kl", {"depth": 3}),
        (True, None, "kl", {"depth": 3}),
        (False, Space("continuous", (3, 32, 32), bounds=(-1, 1)), None, {"depth": 1}),
        (True, Space("continuous", (3, 32, 32), bounds=(-1, 1)), None, {"depth": 1}),
        (False, Space("continuous", (4, 32, 32), bounds=(-1, 1)), None, {"depth": 1}),
    ],
)
def test_one_word_leaves_out_what_comes_trained(from_scratch, space, codec, head):
    tree = {
        "fields": {"icon": {"modality": "image"}}, "from_scratch": from_scratch,
        "defaults": {"image": SCRATCH | {"encoder": {"kind": "picture"}}},
    }  # fmt: skip
    parts = load_recipe(tree).parts("icon", space)
    assert parts.encoder == {"kind": "picture"}  # those that have no other name for it stay
    assert (parts.codec, parts.head) == (codec and {"kind": codec}, {"kind": "flow"} | head)
    named = load_recipe(tree | {"from_scratch": ["audio", "image"] if from_scratch else ["audio"]})
    assert named.parts("icon", space) == parts


def test_a_wrong_part_in_place_of_what_comes_trained_is_named():
    with refused("defaults.image.from_scratch.codec: 'latnet' is unknown", "'latent'", by=ConfigError):
        load_recipe({}, {"defaults.image.from_scratch.codec": {"kind": "kl", "latnet": 4}})
    with refused("from_scratch", "'perhaps'", by=ConfigError):
        load_recipe({"from_scratch": "perhaps"})
    with refused("from_scratch", "[image]", "'image'", by=ConfigError):
        load_recipe({"from_scratch": "image"})
    with refused("from_scratch: modality: 'picture' is unknown", "image", by=ConfigError):
        load_recipe({"from_scratch": ["audio", "picture"]})


def test_a_wrong_part_of_small_fields_is_named():
    with pytest.raises(ConfigError, match=r"defaults\.image\.small\.head: 'chanels' is unknown"):
        load_recipe({"defaults": {"image": {"small": {"places": 9, "head": {"kind": "flow", "chanels": [8]}}}}})
    with pytest.raises(ConfigError, match=r"defaults\.image\.small\.places"):
        load_recipe({"defaults": {"image": {"small": {"head": {"kind": "flow"}}}}})
