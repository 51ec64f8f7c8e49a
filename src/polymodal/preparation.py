"""What a training begins with: a recipe, the data that it is run on, and whether the two fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymodal.config import DataConfig, Recipe, load_recipe
from polymodal.data import (
    Data,
    Fields,
    cache_folder,
    describe_fields,
    first_shard,
    infer_fields,
    load,
    open_source,
    parse_fields,
    places,
)
from polymodal.errors import ConfigError, quote, unknown
from polymodal.parts import FieldConfig, check_part
from polymodal.resolution import check_fit
from polymodal.training.engines import ENGINES


def everyday_settings(
    settings: Mapping[str, Any] | None = None,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    size: str | None = None,
) -> dict[str, Any]:
    """Keys of a recipe, dotted, with those that have a name of their own.

    Raises:
        ConfigError: Two budgets are given.
    """
    if minutes is not None and steps is not None:
        raise ConfigError("minutes, steps: both are given; give one")
    named = {"train.minutes": minutes, "train.steps": steps, "train.batch_size": batch_size, "size": size}
    return {**(settings or {}), **{key: value for key, value in named.items() if value is not None}}


def prepare(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    source: Any = None,
    settings: Mapping[str, Any] | None = None,
    *,
    strict: bool = False,
) -> tuple[Recipe, Data]:
    """A recipe with its settings, and the data that it is to be run on; whether they fit is checked before any is read.

    Args:
        recipe: Name of a recipe that comes with the package, a YAML file, its contents, or a ``Recipe``. Its fields are
            read if it names any, else those of the built-in set, else what the columns seem to be.
        source: What ``load`` returned, or as ``load`` takes it; None for the one that the recipe names.
        settings: Keys of the recipe, dotted. ``fields.sound.max_seconds`` corrects a field that is recognised, and
            ``fields.sound`` with None leaves it out.
        strict: Raise at the first row that cannot be read.

    Raises:
        ConfigError: The recipe is wrong, there is no source, or a part of the recipe does not fit its field.
        DataError: The source is wrong.
    """
    settings = dict(settings or {})
    corrections = {key: value for key, value in settings.items() if key.startswith("fields.")}
    others = {key: value for key, value in settings.items() if key not in corrections}
    resolved = load_recipe(recipe, others)  # its mistakes are told before the source is looked at
    if resolved.fields:
        resolved, corrections = load_recipe(recipe, others | corrections), {}
    if isinstance(source, Data):
        if corrections:
            tree = corrected(describe_fields(source.fields, source.train.names), corrections)
            resolved = load_recipe(recipe, {**others, "fields": tree})
            _check_loaded(tree, source)
        return _placed(resolved, source), source
    source = resolved.data.source if source is None else source
    if source is None:
        raise ConfigError("data: no source is given, and the recipe names none; give --data, or data.source")
    reading = {name: getattr(resolved.data, name) for name in ("root", "follow_links", "encoding")}
    source = source if isinstance(source, str | Path) else open_source(source, cache_folder(), **reading)
    first = source if resolved.data.shards is None else first_shard(source)
    fields: Mapping[str, Any] = {} if resolved.fields else infer_fields(first, **reading)
    if corrections:
        tree = corrected(describe_fields(fields), corrections)
        resolved = load_recipe(recipe, {**others, "fields": tree})
    if resolved.fields:
        known = fields if isinstance(fields, Fields) else Fields({}, {})
        own = {
            name: {"modality": field.modality, **field.arguments, "column": field.column or name}
            for name, field in resolved.fields.items()
        }
        fields = known.replaced(own)
    check_part(ENGINES, resolved.train.engine, "train.engine")
    check_fit(resolved, {name: modality for name, (modality, _) in parse_fields(fields).items()})
    data = load(source, fields, strict=strict, **resolved.data.model_dump(exclude={"source"}))
    return _placed(resolved, data), data


def describe_data(data: Data) -> list[str]:
    """What whoever trains on data should know of how they were read, in lines."""
    lines = []
    if data.rejected:
        lines.append(f"{len(data.rejected):,} rows are set aside; the first: {data.rejected[0]}")
    if data.bad_cells:
        lines.append(f"{len(data.bad_cells):,} cells cannot be read and are missing; the first: {data.bad_cells[0]}")
    rows = ", ".join(f"{len(rows):,} {name}" for name, rows in data.splits.items())
    return [*lines, *data.notes, f"{data.source}: {rows} rows of {', '.join(data.fields)}"]


def corrected(fields: Mapping[str, Mapping[str, Any]], corrections: Mapping[str, Any]) -> dict[str, Any]:
    """Recognised fields, as a recipe has them, with keys such as ``fields.sound.max_seconds`` changed.

    Raises:
        ConfigError: There is no such field, or none is left.
    """
    tree: dict[str, Any] = {name: dict(field) for name, field in fields.items()}
    for key, value in corrections.items():
        _, name, *keys = key.split(".")
        if not keys and value is None and name in tree:
            del tree[name]
            continue
        change: Any = value
        for inner in reversed(keys):
            change = {inner: change}
        adds = isinstance(change, Mapping) and "modality" in change
        if name not in tree and not adds:
            raise ConfigError(unknown("fields", name, fields))
        if not isinstance(change, Mapping):
            raise ConfigError(f"fields.{name}: {quote(value)} is no mapping; fields.{name}.modality changes its kind")
        before = tree.get(name, {})
        if adds and change["modality"] != before.get("modality"):
            before = {
                key: value for key, value in before.items() if key == "column"
            }  # what is known is of another kind
        tree[name] = _merged(before, change)
    if not tree:
        raise ConfigError("fields: every recognised field is left out; keep one")
    return tree


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    inner = {
        key: _merged(before[key], value)
        if isinstance(value, Mapping) and isinstance(before.get(key), Mapping)
        else value
        for key, value in change.items()
    }
    return {**before, **inner}


def _check_loaded(tree: Mapping[str, Mapping[str, Any]], data: Data) -> None:
    """Whether corrections ask for what loaded data cannot give any more: fields that are read otherwise.

    Raises:
        ConfigError: One does.
    """
    for name, field in tree.items():
        known = data.fields[name].state() if name in data.fields else {}
        for key, value in field.items():
            if key not in FieldConfig.model_fields and known.get(key) != value:
                there = f"are loaded with {quote(known[key])}" if key in known else "have no such field"
                raise ConfigError(f"fields.{name}.{key}: the data {there}; give it to pm.load, in fields")


def _placed(recipe: Recipe, data: Data) -> Recipe:
    """The recipe that says where its rows come from, a place that is known from now on."""
    places.remember(data.settings["source"], cache_folder())
    return recipe.model_copy(update={"data": DataConfig(**data.settings)})
