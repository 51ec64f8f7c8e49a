"""Adapters by name: runs that share a pretrained network with another, and are put into its model when asked for.

What is put in is all that such a run has learned: the adapter, and whatever else a checkpoint holds beside references.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from polymodal.api import Generator
from polymodal.checkpoint import config_of, find, weights_of
from polymodal.claims import check_weights
from polymodal.config import Recipe, load_recipe
from polymodal.errors import CheckpointError, ConfigError
from polymodal.migration import migrate_config

Weights = Mapping[str, Tensor]

_PARTS = ("encoder", "codec", "head", "vocoder", "role")


def find_adapters(run: Path) -> dict[str, Path]:
    """By name, the folders of runs that lie in ``adapters`` of a run's folder."""
    folder = run / "adapters"
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()} if folder.is_dir() else {}


def load_adapter(pipeline: Generator, folder: Path) -> tuple[dict[str, Tensor], Recipe]:
    """What a run has learned beside the pretrained networks that it shares with an open one, and by which recipe.

    Args:
        pipeline: The open run.
        folder: The folder of the other run, of a checkpoint, or of what was saved of it.

    Returns:
        Its weights by name, on the device of the open run, and its recipe, which says what data it learned from.

    Raises:
        CheckpointError: There is none, or it is not whole.
        ConfigError: The open run refers to no pretrained network; or the other one refers to another network, or was
            made by another recipe, or has learned other classes or statistics of the data; says what differs. Or its
            pivots or screens name fields that cannot be.
    """
    checkpoint = find(folder)
    config = migrate_config(checkpoint.document("config"))
    _check_fit(config_of(pipeline.model), config, checkpoint.path)
    where = f"{checkpoint.path}/model.safetensors"
    own = weights_of(pipeline.model)
    check_weights(pipeline.model, own, checkpoint.claimed("model"), where)
    weights = checkpoint.tensors("model") | checkpoint.tensors("ema", missing={})
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise CheckpointError(f"{where}: a number of {name} is not finite; train the run anew")
    fitting = {name: weights[name].to(weight.device, weight.dtype) for name, weight in own.items()}
    recipe = load_recipe(config["recipe"])
    pipeline.model.check_pivots(recipe.pivots or {})
    pipeline.model.check_screens(recipe.screens or {})
    return fitting, recipe


def _check_fit(own: Mapping[str, Any], other: Mapping[str, Any], path: Path) -> None:
    """Refuses the checkpoint of another network, of another recipe, or of other fields, than ``own`` describes."""
    references, theirs = (config.get("references", {}) for config in (own, other))
    if not references:
        raise ConfigError("adapter: the run has no pretrained part that others could share; serve them as runs")
    for part, reference in references.items():
        if (found := theirs.get(part, {}).get("digest")) != reference["digest"]:
            raise ConfigError(
                f"adapter: {path}: {part} was trained beside the weights {str(found)[:12]}, and the run has "
                f"{reference['digest'][:12]}; give one that was trained beside those of {reference.get('place')}"
            )
    for name, state in own["fields"].items():
        if other.get("fields", {}).get(name) != state:
            raise ConfigError(
                f"adapter: {path}: fields.{name} is another, or has learned other classes or numbers of its "
                "data, than the run's; train the adapter on the same fields"
            )
    for name, place in _parts(own["recipe"]).items():
        if _parts(other.get("recipe", {})).get(name) != place:
            raise ConfigError(f"adapter: {path}: its {name} is another than the run's; train it by one recipe")


def _parts(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """By place, what says which model a recipe describes, and not how it is trained."""
    parts = {name: recipe.get(name) for name in ("width", "fusion", "alignment")}
    for field, its in recipe.get("fields", {}).items():
        parts |= {f"fields.{field}.{part}": its.get(part) for part in _PARTS}
    return parts
