"""Whether the parts of a recipe fit its fields is known without data, and without memory for weights."""

import math
from dataclasses import replace

import pytest
import torch

import polymodal as pm
from contract.spaces import SPACES, WIDTH, needs_model
from polymodal.codecs import CODECS
from polymodal.codecs.kl import KLAutoencoder
from polymodal.codecs.trained import TrainedAutoencoder
from polymodal.config import load_recipe, recipe_names, recipe_notes
from polymodal.data import infer_fields, parse_fields
from polymodal.encoders import ENCODERS
from polymodal.errors import ConfigError
from polymodal.fusion import FUSIONS
from polymodal.heads import HEADS
from polymodal.modalities import Modality
from polymodal.model import Model
from polymodal.parts import build_part
from polymodal.resolution import check_fit, replaced, resolve, untaught
from refusals import refused

PLACE = {"modality": "vector", "size": 2, "head": {"kind": "flow", "depth": 1, "heads": 2}}
DECODED = PLACE | {"head": {"kind": "decoder", "hidden_size": 8}}
INPUT = {"modality": "vector", "size": 2, "role": "input"}
TWO = {"place": pm.Vector(2), "other": pm.Vector(2)}
FAMILIES = {"encoder": (ENCODERS, (WIDTH,)), "codec": (CODECS, ()), "head": (HEADS, (WIDTH,))}
CASES = [
    (family, kind, name)
    for family, (table, _) in FAMILIES.items()
    for kind, part in table.items()
    for name, space in SPACES.items()
    if part.accepts(space) is None and not needs_model(part)
]
SMALL = {"kl": {"channels": [8, 8], "patch": 2, "latent": 4}, "fsq": {"channels": [8, 8], "patch": 2}}
FIELDS = {
    "picture": pm.Image(size=16),
    "name": pm.Text(),
    "speech": pm.Audio(),
    "place": pm.Vector(2),
    "kind": pm.Label(),
}


@pytest.mark.parametrize(("family", "kind", "name"), CASES)
def test_parts_are_built_without_memory(family, kind, name):
    """Those of labels whose names are not known yet, too; random streams stay where they are."""
    space, state = SPACES[name], torch.get_rng_state()
    space = replace(space, vocab=0) if name == "label" else space
    with torch.device("meta"):
        part = build_part(family, {"kind": kind, **SMALL.get(kind, {})}, family, space, *FAMILIES[family][1])
    assert all(parameter.is_meta for parameter in part.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "part", [{"kind": kind} for kind in FUSIONS] + [{"kind": "poe", "prior": "flow", "private": 2}]
)
def test_fusions_are_built_without_memory(part):
    with torch.device("meta"):
        assert all(p.is_meta for p in build_part("fusion", part, "fusion", ["a", "b"], WIDTH).parameters())


def test_a_critic_and_a_vocoder_are_built_without_memory():
    with torch.device("meta"):
        critic = build_part("head", {"kind": "gan", "spectral_norm": True}, "head", SPACES["picture"], WIDTH)
        vocoder = build_part("vocoder", {"kind": "istft", "adversarial": 1.0}, "vocoder", FIELDS["speech"])
    for part in (critic, vocoder):
        assert all(p.is_meta for p in part.parameters())


def fields_of(name: str) -> dict[str, Modality]:
    """The fields that a shipped recipe is run on, as far as they are known without data."""
    source = recipe_notes(name)[0].split("--data ")[1].split()[0]
    recipe = load_recipe(name)
    named = {field: {"modality": config.modality, **config.arguments} for field, config in recipe.fields.items()}
    return {field: modality for field, (modality, _) in parse_fields(named or infer_fields(source)).items()}


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_fit(name):
    recipe, fields = load_recipe(name), fields_of(name)
    check_fit(recipe, fields)
    with torch.device("meta"):  # nothing that the check passes over
        model = Model(resolve(recipe, fields), fields)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert not list(untaught(model, list(model.heads), len(model.encoders)))


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"defaults.image.head": {"kind": "flow", "heads": 5}}, ("fields.picture.head.heads: 5", "192")),
        ({"defaults.image.encoder": {"kind": "picture", "heads": 5}}, ("fields.picture.encoder.heads: 5", "192")),
        ({"defaults.image.codec": {"kind": "kl", "latent": 99}}, ("fields.picture.codec.patch: 99", "48")),
        ({"defaults.image.codec": {"kind": "kl", "channels": [8, 12]}}, ("fields.picture.codec.channels: 12", "8")),
        ({"defaults.image.head": {"kind": "masked"}}, ("fields.picture.head.kind", "'masked'", "continuous")),
        ({"defaults.image.vocoder": {"kind": "istft"}}, ("fields.picture.vocoder.kind", "'istft'", "not Image")),
        ({"defaults.audio.vocoder": {"kind": "istft", "kernel": 4}}, ("fields.speech.vocoder.kernel: 4", "odd")),
        ({"fusion": {"kind": "graph", "heads": 5}}, ("fusion.heads: 5", "192")),
        (
            {"train.balance": {"kind": "gradient-share", "shares": {"nme": 1}}},
            ("train.balance.shares", "'nme'", "'name'"),
        ),
        ({"fields": {"name": {"modality": "vector", "size": 2}}}, ("fields.name.modality", "'vector'", "'text'")),
        ({"fields": {"title": {"modality": "text"}}}, ("fields.title", "name")),
    ],
)
def test_what_does_not_fit_is_told_without_data(changes, parts):
    with refused(*parts, by=ConfigError):
        check_fit(load_recipe({}, changes), FIELDS)


LARGE = {"name": pm.Text(), "picture": pm.Image(size=64)}


@pytest.mark.parametrize(("size", "patch"), [(64, 1), (40, 1), (100, 2), (128, 2), (256, 4)])
def test_pictures_of_any_to_any_have_the_codec_that_comes_trained_and_at_most_64_tokens(size, patch):
    fields = LARGE | {"picture": pm.Image(size=size)}
    with torch.device("meta"):
        model = Model(resolve(load_recipe("any-to-any"), fields), fields)
    assert isinstance(model.codecs["picture"], TrainedAutoencoder)
    assert model.recipe.fields["picture"].head["patch"] == patch
    assert math.prod(model.heads["picture"].patches.cells) <= 64


def test_from_scratch_any_to_any_brings_nothing_with_it():
    recipe = resolve(load_recipe("any-to-any", {"from_scratch": True}), LARGE)
    with torch.device("meta"):
        model = Model(recipe, LARGE)
        again = Model(model.recipe, LARGE)
    assert isinstance(model.codecs["picture"], KLAutoencoder)
    assert again.recipe == model.recipe
    assert not model.recipe.from_scratch  # as that of a run of before the word, which goes on with it
    assert not list(replaced(recipe, LARGE))


@pytest.mark.parametrize("codec", [{"kind": "trained"}, {"kind": "trained", "tune": True}])
def test_what_comes_trained_is_refused_from_scratch(codec):
    for place in ("fields.picture.codec", "defaults.image.from_scratch.codec"):
        changes = {"fields.picture": {"modality": "image"}, place: codec}
        for anew in (True, ["image"]):
            with refused("fields.picture.codec: comes trained", "from_scratch", "kind", by=ConfigError):
                check_fit(load_recipe("any-to-any", changes | {"from_scratch": anew}), LARGE)
        check_fit(load_recipe("any-to-any", changes | {"from_scratch": ["audio"]}), LARGE)


@pytest.mark.parametrize("tune", [False, True])
def test_encoders_and_vocabularies_that_come_trained_are_refused_from_scratch(tune):
    encoder = {"from_scratch": True, "fields.name": {"modality": "text", "encoder": {"kind": "trained", "tune": tune}}}
    with refused("fields.name.encoder: comes trained", "from_scratch", "kind", by=ConfigError):
        check_fit(load_recipe("any-to-any", encoder), LARGE | {"name": pm.Text()})
    for name in (pm.Text(tokenizer="trained"), pm.Text(**pm.Text(tokenizer="trained").state())):
        with refused("fields.name.tokenizer: comes trained", "from_scratch", "bpe", by=ConfigError):
            check_fit(load_recipe("any-to-any", {"from_scratch": True}), LARGE | {"name": name})


def test_it_is_told_where_the_codec_that_comes_trained_does_not_take_a_field():
    defaults = {"codec": {"kind": "trained"}, "from_scratch": {"codec": {"kind": "kl"}}}
    recipe = resolve(load_recipe({}, {"defaults.audio": defaults, "defaults.image": defaults}), FIELDS)
    (line,) = replaced(recipe, FIELDS)
    assert line.startswith("speech: codec trained compresses pictures")
    assert "defaults.audio.from_scratch" in line
    with torch.device("meta"):
        codecs = Model(recipe, FIELDS).codecs
    assert isinstance(codecs["speech"], KLAutoencoder)
    assert isinstance(codecs["picture"], TrainedAutoencoder)


def test_a_part_that_looks_at_its_weights_is_left_to_the_real_model(monkeypatch):
    class Curious(HEADS["flow"]):
        """Reads a number of its own."""

        def __init__(self, space, width):
            super().__init__(space, width)
            float(next(self.parameters()).sum())

    monkeypatch.setitem(HEADS, "curious", Curious)
    check_fit(load_recipe({}, {"defaults.vector.head": {"kind": "curious"}}), FIELDS)


def test_resolved_fields_are_those_of_the_data_with_what_the_recipe_says():
    recipe = load_recipe({"fields": {"name": {"modality": "text", "weight": 2.0}}})
    resolved = resolve(recipe, FIELDS, {"name": "title", "place": "place"})
    assert list(resolved.fields) == list(FIELDS)
    assert (resolved.fields["name"].weight, resolved.fields["name"].column) == (2.0, "title")
    assert (resolved.fields["place"].modality, resolved.fields["place"].column) == ("vector", None)


ODDS = {"none": 0.0, "one": 1.0, "some": 0.0}


@pytest.mark.parametrize(
    ("tasks", "options", "warns"),
    [
        (ODDS, {}, True),
        (ODDS, {"place": {"guidance": 1.0}}, False),
        (ODDS | {"none": 0.1}, {}, False),
        (ODDS | {"some": 0.1}, {}, False),  # some of the fields may be none of them
        (ODDS | {"some": 0.1, "reconstruct": True}, {}, True),
    ],
)
def test_guidance_away_from_what_was_never_taught_is_doubted(tasks, options, warns):
    model = Model(load_recipe({"width": 8, "fields": {"place": PLACE, "other": PLACE}, "tasks": tasks}), TWO)
    doubts = list(untaught(model, ["place"], 1, options))
    assert [doubt.startswith("place: guidance 2 leads") and "tasks.none" in doubt for doubt in doubts] == [True] * warns
    alone = Model(load_recipe({"width": 8, "fields": {"place": PLACE | {"role": "output"}, "other": INPUT},
                               "tasks": tasks}), TWO)  # fmt: skip
    assert len(list(untaught(alone, ["place"], 1, options))) == warns
    only = Model(load_recipe({"width": 8, "fields": {"place": PLACE}, "tasks": tasks}), {"place": pm.Vector(2)})
    assert not list(untaught(only, ["place"], 0)), "without inputs all is made from nothing"


@pytest.mark.parametrize(
    ("tasks", "experts", "given", "warns"),
    [(ODDS, "product", 2, True), (ODDS, "product", 1, False), (ODDS, "mixture", 2, False),
     (ODDS | {"all": 0.5}, "product", 2, False)],
)  # fmt: skip
def test_a_product_that_was_never_taught_is_doubted(tasks, experts, given, warns):
    recipe = {"width": 8, "fields": {"place": DECODED, "other": DECODED}, "tasks": tasks | {"reconstruct": True}}
    model = Model(load_recipe(recipe | {"fusion": {"kind": "poe", "latent": 4, "experts": experts}}), TWO)
    doubts = list(untaught(model, ["place"], given))
    assert [doubt.startswith("fusion.experts") for doubt in doubts] == [True] * warns


def test_generation_warns_of_what_was_never_taught():
    fields = {"place": PLACE, "other": PLACE}
    model = Model(load_recipe({"width": 8, "fields": fields, "tasks": ODDS}), TWO).eval()
    with pytest.warns(UserWarning, match=r"^place: guidance 3 leads away.*tasks\.none is 0"):
        pm.Generator(model).generate({"other": [1, 2]}, to="place", options={"place": {"guidance": 3.0, "steps": 2}})
    assert pm.Generator(model).generate({"other": [1, 2]}, to="place", options={"place": {"guidance": 1.0, "steps": 2}})


def test_giving_everything_leaves_an_output():
    tasks = {"none": 0.1, "one": 0.4, "some": 0.0, "all": 0.5}
    recipe = load_recipe({"fields": {"place": DECODED, "other": INPUT}, "tasks": tasks})
    with refused("tasks.all", "nothing to generate", "reconstruct", "output only", by=ConfigError):
        resolve(recipe, TWO)
    for fields, more in (({"place": DECODED | {"role": "output"}}, {}), ({}, {"reconstruct": True})):
        known = {"place": DECODED, "other": INPUT} | fields
        assert resolve(load_recipe({"fields": known, "tasks": tasks | more}), TWO).tasks.all == 0.5
