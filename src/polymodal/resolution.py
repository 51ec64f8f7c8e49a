"""A recipe and the fields that it is to be run on: which they are, and whether its parts fit them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch

from polymodal.config import Recipe
from polymodal.errors import ConfigError, quote
from polymodal.modalities import Modality, kind_of
from polymodal.model import Model
from polymodal.parts import FieldConfig, build_part


def resolve(recipe: Recipe, modalities: Mapping[str, Modality], columns: Mapping[str, str] | None = None) -> Recipe:
    """The recipe with the fields of the data, and the columns that they were read from.

    Args:
        recipe: Its fields are among those of the data, if it names any.
        modalities: Of the data, by field.
        columns: By field, where a column is called otherwise.

    Raises:
        ConfigError: It names a field that the data has not, or another modality for it, or its tasks leave nothing to
            generate.
    """
    fields = {}
    for name, modality in modalities.items():
        column = (columns or {}).get(name, name)
        field = recipe.fields.get(name, FieldConfig(modality=kind_of(modality)))
        fields[name] = field.model_copy(update={"column": None if column == name else column})
    for name, field in recipe.fields.items():
        if name not in modalities:
            raise ConfigError(f"fields.{name}: the data has no such field; it has {', '.join(modalities)}")
        if field.modality != (kind := kind_of(modalities[name])):
            raise ConfigError(f"fields.{name}.modality: {quote(field.modality)}, but the data's is '{kind}'")
    if recipe.tasks.all and not recipe.tasks.reconstruct and all(field.role != "output" for field in fields.values()):
        raise ConfigError(
            "tasks.all: leaves nothing to generate, as every output may be given; make a field an output only (role), "
            "or set tasks.reconstruct as well, or tasks.all to 0"
        )
    return recipe.model_copy(update={"fields": fields})


def replaced(recipe: Recipe, modalities: Mapping[str, Modality]) -> Iterator[str]:
    """Fields that have other parts, as the codec or the vocoder that they have by default does not take them.

    Args:
        recipe: With the fields of the data.
        modalities: By field.
    """
    for name, field in recipe.fields.items():
        default, modality = recipe.defaults.get(field.modality), modalities[name]
        if not (default and default.from_scratch) or recipe.starts_anew(field.modality) or field.role == "input":
            continue
        for family, reason in default.refusals(modality.space, modality):
            if not getattr(field, family):
                yield f"{name}: {reason}; defaults.{field.modality}.from_scratch takes its place"


def check_fit(recipe: Recipe, modalities: Mapping[str, Modality]) -> None:
    """Refuses a recipe whose parts do not fit its fields or each other, before any data are read.

    The model is built without memory for its weights, which takes a fraction of a second whatever its size.

    Args:
        recipe: Any.
        modalities: By field, of the data that it is to be run on; what they learn from the data may be missing.

    Raises:
        ConfigError: A part does not fit; says which, and what would be right.
    """
    # A part that looks at its weights as it is made cannot be built without them; the real model will tell.
    with suppress(RuntimeError), torch.device("meta"):
        model = Model(resolve(recipe, modalities), modalities)
        build_part("balancer", recipe.train.balance, "train.balance", list(model.heads))


def untaught(
    model: Model, to: Collection[str], given: int, options: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[str]:
    """What generation would lean on although the tasks of a model's recipe do not teach it, in sentences.

    Args:
        model: Of any recipe.
        to: Fields that are generated.
        given: Most fields that are given.
        options: Sampling options by field, in place of the recipe's; checked.
    """
    tasks, fusion = model.recipe.tasks, model.recipe.fusion
    nothing_given = tasks.none > 0 or (tasks.some > 0 and not tasks.reconstruct)
    for name in to:
        guidance = getattr(model.heads[name].options_with((options or {}).get(name, {})), "guidance", 1.0)
        if guidance != 1 and not nothing_given and model.encoders.keys() - {name}:
            yield (
                f"{name}: guidance {guidance:g} leads away from what is made when nothing is given, which no task "
                "teaches: tasks.none is 0; train with about 0.1, or generate with guidance 1"
            )
    product = model.fusion.joint and fusion.get("experts", "product") == "product"
    if product and given > 1 and not tasks.some + tasks.all:
        yield (
            "fusion.experts: a product of several given fields, which no task teaches: tasks.some and tasks.all are 0; "
            "train with either above 0, or with fusion.experts=mixture"
        )
