"""Models of all recipes can be sketched without memory, as a run is before it is built."""

import pytest
import torch

from conftest import FIELDS
from polymodal.claims import without_memory
from polymodal.config import load_recipe, recipe_names
from polymodal.data.fields import parse_fields
from polymodal.errors import CheckpointError
from polymodal.model import Model
from polymodal.resolution import resolve


def described(name):
    recipe = load_recipe(name)
    recipe = recipe if recipe.fields else load_recipe(name, {"fields": FIELDS})
    arguments = {
        field: {"modality": its.modality, **({"names": ["a", "b"]} if its.modality == "label" else {}), **its.arguments}
        for field, its in recipe.fields.items()
    }
    fields = {field: modality for field, (modality, _) in parse_fields(arguments).items()}
    return resolve(recipe, fields, {field: field for field in fields}), fields


@pytest.mark.parametrize("name", recipe_names())
def test_a_model_is_sketched_without_memory(name):
    recipe, fields = described(name)
    with without_memory(300):
        model = Model(recipe, fields)
    assert {weight.device.type for weight in model.state_dict().values()} == {"meta"}


def test_far_more_weights_than_there_are_stop_the_sketch():
    def sketch():
        with without_memory(3):
            return [torch.empty(2) for _ in range(10**6)]

    with pytest.raises(CheckpointError, match="far more weights"):
        sketch()
