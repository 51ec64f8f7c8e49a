"""Fields as a user writes them: names, modalities and columns."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from polymodal.errors import ConfigError, printable, quote
from polymodal.modalities import Modality, build, kind_of

_MOST_CHARACTERS = 100
"""Of a field's name."""


def check_name(name: str) -> None:
    """Whether a field may be called that: names become those of modules, columns and options, and are printed.

    Raises:
        ConfigError: It may not.
    """
    if not isinstance(name, str):
        raise ConfigError(f"fields: {quote(name)} is no name; one in letters is right")
    if len(name) > _MOST_CHARACTERS:
        raise ConfigError(f"fields: '{name[:40]}...' is longer than {_MOST_CHARACTERS} characters; call it otherwise")
    unfit = any(character in name for character in "./\\\n\t") or printable(name) != name
    if not name or unfit or reserved(name):
        raise ConfigError(
            f"fields: '{name}' cannot be a field's name; call it otherwise, and give its column: "
            f"{{NAME: {{modality: ..., column: '{name}'}}}}"
        )


def reserved(name: str) -> bool:
    """Whether torch's containers of modules and parameters have an attribute of that name."""
    return any(hasattr(container(), name) for container in (nn.ModuleDict, nn.ParameterDict))


def parse_fields(fields: Mapping[str, Any]) -> dict[str, tuple[Modality, str]]:
    """Fields as a user writes them -> modality (a copy, to be prepared) and column by name.

    Raises:
        ConfigError: A field is wrong.
    """
    if not fields:
        raise ConfigError("fields: none given; {'picture': pm.Image(size=64)} is an example")
    parsed = {}
    for name, given in fields.items():
        check_name(name)
        arguments = dict(given) if isinstance(given, Mapping) else {"modality": given}
        column = arguments.pop("column", name)
        if not isinstance(column, str):
            raise ConfigError(f"fields.{name}.column: {quote(column)} is not the name of a column")
        modality = arguments.pop("modality", None)
        if "where" in arguments:  # of ``build``
            raise ConfigError(f"fields.{name}: 'where' is no argument of a modality")
        if isinstance(modality, Modality):
            parsed[name] = (type(modality)(**modality.state()), column)
        elif isinstance(modality, str):
            parsed[name] = (build(modality, where=f"fields.{name}", **arguments), column)
        else:
            raise ConfigError(f"fields.{name}.modality: {quote(modality)} is no modality, nor the name of one")
    return parsed


def describe_fields(fields: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """Fields as ``load`` takes them -> as a recipe and a YAML file have them: ``{"modality": "image", "size": 64}``.

    Args:
        fields: By name.
        columns: By field, the column of the source, if ``fields`` do not say.
    """
    tree = {}
    for name, (modality, column) in parse_fields(fields).items():
        column = (columns or {}).get(name, column)
        arguments = {key: value for key, value in modality.state().items() if value is not None}
        tree[name] = {"modality": kind_of(modality), **({"column": column} if column != name else {}), **arguments}
    return tree
