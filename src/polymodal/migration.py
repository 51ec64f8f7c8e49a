"""Runs of earlier versions: what they called otherwise, in their recipes and in their weights, and what they left out.

Values never change, only names: where a default is another one now, a recipe is given what it was then. So a run of an
earlier format generates today what it generated then.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

FORMAT = 4
"""Of what a run folder holds."""
OLDER = (2, 3)
"""Formats that are read all the same. Format 2 has the names below, and both have the defaults below."""

_ARGUMENTS: dict[str, dict[str, dict[str, str]]] = {
    "encoder": {"vector": {"hidden": "hidden_size"}},
    "head": {
        "flow": {"inner": "hidden_size"},
        "gan": {"inner": "hidden_size"},
        "autoregressive": {"width_inside": "hidden_size", "hidden": "intermediate_size"},
        "masked": {"width_inside": "hidden_size", "hidden": "intermediate_size"},
        "recurrent": {"width_inside": "hidden_size"},
        "vae": {"hidden": "hidden_size"},
        "decoder": {"hidden": "hidden_size"},
    },
    "vocoder": {"istft": {"hidden": "intermediate_size"}},
    "fusion": {"concatenation": {"hidden": "hidden_size"}},
}
"""By family and kind of a part: its arguments of format 2, and what they are called now."""

_DEFAULTS: dict[int, dict[str, dict[str, dict[str, Any]]]] = {
    2: {
        "codec": {"kl": {"channels": [64, 128, 256], "patch": 4}, "fsq": {"channels": [64, 128], "patch": 4}},
        "head": {
            "flow": {"patch": 1},
            "vae": {"channels": [32, 64, 128], "patch": 1},
            "decoder": {"channels": [32, 64, 128], "patch": 1},
        },
    },
    3: {"head": {"masked": {"noise": 1.0}, "gan": {"gamma": 1.0}}},
}
"""By the last format that had them, family and kind of a part: what arguments were where they were left out."""

_WEIGHTS = {
    "enter": "proj_in", "leave": "proj_out", "enter_norm": "proj_in_norm", "leave_norm": "proj_out_norm",
    "told": "proj_context",
}  # fmt: skip


def migrate_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of a ``config.json`` of an older format as this one has them; others as they are."""
    if isinstance(config.get("recipe"), Mapping) and "source" in (data := config["recipe"].get("data", {})):
        # Runs that do not say it split their rows one by one, and are scored on the rows that they did not learn from.
        config = {**config, "recipe": {**config["recipe"], "data": {"group": False, **data}}}
    if (written := config.get("format")) not in OLDER:
        return dict(config)
    recipe = migrate_recipe(config["recipe"])
    if written == 2:
        recipe = _with_new_names(recipe)
    for last in sorted(form for form in _DEFAULTS if form >= written):
        defaults = {name: _filled(parts, {}, last) for name, parts in recipe.get("defaults", {}).items()}
        fields = {
            name: _filled(field, defaults.get(field["modality"], {}), last)
            for name, field in recipe.get("fields", {}).items()
        }
        recipe |= {"defaults": defaults, "fields": fields}
    return {**config, "format": FORMAT, "recipe": recipe}


def migrate_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as users write it, with options of earlier versions replaced by those of today.

    What ``train.ema_decay`` gave in fewer than 9 / (1 - decay) steps, whatever it was, is an average of length 0.09.
    """
    if not isinstance(train := recipe.get("train"), Mapping) or "ema_decay" not in train:
        return dict(recipe)
    kept = {name: value for name, value in train.items() if name != "ema_decay"}
    return {**recipe, "train": {"ema_length": 0.09} | kept}


def migrate_weights(weights: Mapping[str, T]) -> dict[str, T]:
    """Weights by their names in format 2, by those of format 3; names of format 3 as they are."""
    names = {".".join(_WEIGHTS.get(word, word) for word in name.split(".")): weight for name, weight in weights.items()}
    flows = {match[1] for name in names if (match := re.fullmatch(r"(heads\.[^.]+)\.time\.inner\.weight", name))}
    return {_migrate_weight(name, flows): weight for name, weight in names.items()}


def _migrate_weight(name: str, flows: set[str]) -> str:
    head = ".".join(name.split(".")[:2])
    if head not in flows or name.startswith(f"{head}.length."):
        return re.sub(r"^(heads\.[^.]+)\.balance\.", r"\1.controller.", name)
    inner = name.removeprefix(f"{head}.")  # the network of a flow is a module of its own
    return f"{head}.network.{'condition.' * inner.startswith(('time.', 'summary.', 'reach.'))}{inner}"


def _with_new_names(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe of format 2 with the names of format 3."""
    renamed = dict(recipe)
    for group in ("defaults", "fields"):
        renamed[group] = {
            name: {key: _renamed(key, part) if key in _ARGUMENTS else part for key, part in parts.items()}
            for name, parts in recipe.get(group, {}).items()
        }
    if "fusion" in recipe:
        renamed["fusion"] = _renamed("fusion", recipe["fusion"])
    if "views" in (tasks := recipe.get("tasks", {})):
        renamed["tasks"] = {"tasks_per_row" if key == "views" else key: value for key, value in tasks.items()}
    return renamed


def _filled(parts: Mapping[str, Any], defaults: Mapping[str, Any], last: int) -> dict[str, Any]:
    """The parts of a field with what their arguments were by default, up to the format ``last``, written out."""
    filled = dict(parts)
    for family, by_kind in _DEFAULTS[last].items():
        part, default = filled.get(family), defaults.get(family)
        if part and part.get("kind") != (default or {}).get("kind"):  # else the default has them
            filled[family] = by_kind.get(str(part.get("kind")), {}) | part
    return filled


def _renamed(family: str, part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    names = _ARGUMENTS[family].get(str(part.get("kind")), {})
    return {names.get(key, key): value for key, value in part.items()}
