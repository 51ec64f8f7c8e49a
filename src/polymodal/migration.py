"""Runs of earlier versions: what they called otherwise, in their recipes and in their weights.

Values never change, only names, so that a run of format 2 generates today what it generated then.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

FORMAT = 3
"""Of what a run folder holds. Format 2 has the names below."""

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

_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "codec": {"kl": {"channels": [64, 128, 256], "patch": 4}, "fsq": {"channels": [64, 128], "patch": 4}},
    "head": {
        "flow": {"patch": 1},
        "vae": {"channels": [32, 64, 128], "patch": 1},
        "decoder": {"channels": [32, 64, 128], "patch": 1},
    },
}
"""By family and kind of a part: what arguments were in format 2 where they were left out; now the space says."""

_WEIGHTS = {
    "enter": "proj_in", "leave": "proj_out", "enter_norm": "proj_in_norm", "leave_norm": "proj_out_norm",
    "told": "proj_context",
}  # fmt: skip


def migrate_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of a ``config.json`` of format 2 or 3, as format 3 has them; others as they are."""
    if isinstance(config.get("recipe"), Mapping) and "source" in (data := config["recipe"].get("data", {})):
        # Runs that do not say it split their rows one by one, and are scored on the rows that they did not learn from.
        config = {**config, "recipe": {**config["recipe"], "data": {"group": False, **data}}}
    if config.get("format") != 2:
        return dict(config)
    recipe = dict(config["recipe"])
    recipe["defaults"] = {name: _migrate_parts(parts, {}) for name, parts in recipe.get("defaults", {}).items()}
    recipe["fields"] = {
        name: _migrate_parts(field, recipe["defaults"].get(field["modality"], {}))
        for name, field in recipe.get("fields", {}).items()
    }
    if "fusion" in recipe:
        recipe["fusion"] = _renamed("fusion", recipe["fusion"])
    if "views" in (tasks := recipe.get("tasks", {})):
        recipe["tasks"] = {"tasks_per_row" if key == "views" else key: value for key, value in tasks.items()}
    return {**config, "format": FORMAT, "recipe": recipe}


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


def _migrate_parts(parts: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    migrated = {key: _renamed(key, part) if key in _ARGUMENTS else part for key, part in parts.items()}
    for family, by_kind in _DEFAULTS.items():
        part, default = migrated.get(family), defaults.get(family)
        if part and part.get("kind") != (default or {}).get("kind"):  # else the default has them
            migrated[family] = by_kind.get(str(part.get("kind")), {}) | part
    return migrated


def _renamed(family: str, part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    names = _ARGUMENTS[family].get(str(part.get("kind")), {})
    return {names.get(key, key): value for key, value in part.items()}
