"""Data sets that polymodal assembles itself, from packages that pip installs."""

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import yaml

from polymodal.errors import DataError, unknown


def _lazy(name: str, module: str) -> Callable[..., Path]:
    """The ``build`` of a module that is imported when it is first needed."""

    def build(**options: Any) -> Path:
        builder = import_module(module).build
        for option in options:
            if option not in signature(builder).parameters:
                raise DataError(unknown(f"{name}: option", option, signature(builder).parameters))
        return builder(**options)

    return build


BUILTIN: dict[str, Callable[..., Path]] = {"emoji": _lazy("emoji", "polymodal.data.emoji")}
"""By name: what builds the data set, once, and returns the folder of its Parquet manifest."""


def build(source: str) -> Path | None:
    """The folder of a built-in data set, named as ``emoji`` or ``emoji:option=value,option=value``.

    Returns:
        None if it is not the name of one.

    Raises:
        DataError: An option is unknown or has no value.
    """
    name, _, text = source.partition(":")
    if name not in BUILTIN:
        return None
    options = {}
    for option in filter(None, text.split(",")):
        key, equals, value = option.partition("=")
        if not equals:
            raise DataError(f"{source}: '{option}' is no option=value")
        options[key] = yaml.safe_load(value)
    return BUILTIN[name](**options)
