"""Data sets that polymodal assembles itself, from packages of pip or of the system."""

from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from pydantic import ValidationError, validate_call

from polymodal.errors import DataError, quote, unknown

BUILTIN = {
    "emoji": "polymodal.data.emoji",
    "emoji-motion": "polymodal.data.emoji_motion",
    "fashion": "polymodal.data.fashion",
    "furniture": "polymodal.data.furniture",
    "molecules": "polymodal.data.molecules",
    "moving": "polymodal.data.moving",
    "packages": "polymodal.data.packages",
    "presenter": "polymodal.data.presenter",
}
"""By name: the module, imported when needed, whose ``build(cache, **options)`` builds the data set once, in a folder of
its own under ``cache``, and returns that folder; and whose ``FIELDS`` are the fields it was made for. Its options are
keyword-only. A module may have ``OPTIONAL``: by field, the option that leaves it out where it is false."""


def find(source: str) -> ModuleType | None:
    """The module of a built-in data set, or None if ``source`` is not the name of one."""
    module = BUILTIN.get(source.partition(":")[0])
    return import_module(module) if module else None


def fields(source: str) -> dict[str, Any] | None:
    """The fields of a built-in data set with its options, as a recipe would say them; None if it is not one.

    Raises:
        DataError: The options cannot be read.
    """
    module = find(source)
    if module is None:
        return None
    options, optional = _parse(source, source.partition(":")[2]), getattr(module, "OPTIONAL", {})
    return {name: field for name, field in module.FIELDS.items() if options.get(optional.get(name, ""), True)}


def credits(source: str) -> list[str]:
    """Who made what a built-in data set is made of, and under which licence, one line each; none of other sources."""
    module = find(source)
    pictures = getattr(module, "PICTURES_CREDIT", None)
    return [*([pictures] if pictures else []), *getattr(module, "CREDITS", {}).values()]


def build(source: str, cache: Path) -> Path | None:
    """The folder of a built-in data set, named as ``emoji`` or ``emoji:option=value,option=value``.

    Returns:
        None if it is not the name of one.

    Raises:
        DataError: An option is unknown, has no value, or one of another type.
    """
    module = find(source)
    if module is None:
        return None
    name, _, text = source.partition(":")
    known = [name for name, option in signature(module.build).parameters.items() if option.kind is option.KEYWORD_ONLY]
    options = _parse(source, text)
    for option in options:
        if option not in known:
            raise DataError(unknown(f"{name}: option", option, known))
    try:
        return validate_call(module.build)(cache / "builtin", **options)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise DataError(f"{source}: {wrong['loc'][0]}: {wrong['msg']}, not {quote(wrong['input'])}") from None


def _parse(source: str, text: str) -> dict[str, Any]:
    try:
        options = yaml.safe_load("{" + text.replace("=", ": ") + "}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{source}: '{text}' is not option=value,option=value") from error
    for option, value in options.items():
        if value is None or not isinstance(option, str):
            raise DataError(f"{source}: '{option}' is not option=value")
    return options
