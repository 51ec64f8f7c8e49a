"""Fields as a table that is corrected by hand: one line for each, with its settings as YAML."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from polymodal.data import describe_fields, parse_fields
from polymodal.errors import ConfigError, quote


def to_lines(fields: Mapping[str, Any]) -> list[list[Any]]:
    """Fields as ``load`` takes them -> lines of (use, field, modality, column, settings)."""
    lines = []
    for name, described in describe_fields(fields).items():
        settings = {key: value for key, value in described.items() if key not in ("modality", "column")}
        text = yaml.safe_dump(settings, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 20)
        shown = text.strip().removeprefix("{").removesuffix("}")
        lines.append([True, name, described["modality"], described.get("column", name), shown])
    return lines


def from_lines(lines: Iterable[Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Lines of the table -> fields as ``load`` takes them, without those that are not to be used.

    Raises:
        ConfigError: A line is wrong, two fields have one name, or there is none.
    """
    fields: dict[str, dict[str, Any]] = {}
    for use, name, modality, column, settings in lines:
        name, column = str(name or "").strip(), str(column or "").strip()
        if not name or str(use).lower() not in ("true", "1"):
            continue
        if name in fields:
            raise ConfigError(f"fields: two are called '{name}'; call one otherwise")
        try:
            read = yaml.safe_load(f"{{{settings or ''}}}")
        except yaml.YAMLError as error:
            raise ConfigError(
                f"fields.{name}: {quote(settings)} is not of the form size: 64, fit: pad ({error})"
            ) from None
        kind = {"modality": str(modality or "").strip()}
        fields[name] = kind | ({"column": column} if column not in ("", name) else {}) | read
    parse_fields(fields)
    return fields
