"""Arguments checked against a signature, names, types and bounds, before anything is built.

A part of a model (an encoder, a head, ...) takes its configuration as keyword-only arguments. Those arguments, their
types, which may be annotated with bounds, and their defaults are the part's schema: nothing is written twice.
"""

import functools
import inspect
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError, create_model

from polymodal.errors import ConfigError, quote, unknown

Share = Annotated[float, Field(ge=0, lt=1)]
"""A part of a whole that is less than all of it, such as a dropout."""
Probability = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1."""
Stages = Annotated[int, Field(ge=1, le=16)]
"""Of a network, each of which halves what it sees."""
Sizes = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
"""One size or more, such as the channels of each level of a network."""
Sides = Annotated[Sizes, BeforeValidator(lambda value: [value] if isinstance(value, int) else value)]
"""A side for each axis, or one for all, which may be given as a number."""


def check_constructor(part: type) -> None:
    """Makes the constructor of a class check its keyword-only arguments, so that Python and YAML get the same answer.

    It is the ``__init_subclass__`` of every base class of parts, and so is called of each class derived from one.
    """
    construct = part.__init__  # type: ignore[misc]
    by_position = {
        name
        for name, parameter in inspect.signature(construct).parameters.items()
        if parameter.kind is not parameter.KEYWORD_ONLY
    }

    @functools.wraps(construct)
    def checked(self: Any, *positional: Any, **given: Any) -> None:
        known = {name: given.pop(name) for name in by_position & given.keys()}
        construct(self, *positional, **known, **check_arguments(part, given))

    part.__init__ = checked  # type: ignore[misc]


def check_arguments(part: type, given: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Keyword-only arguments of a constructor, as its annotations have them: a list becomes a tuple, 3 becomes 3.0.

    Args:
        part: The class; of a dataclass all arguments count.
        given: Arguments by name; those that are not given are left to the defaults.
        where: What the names in messages follow, such as ``fields.picture.head``.

    Raises:
        ConfigError: One is unknown, missing, of another type or out of its bounds; each has a line of its own.
    """
    checked = validate(arguments_model(part), given, where)
    return {name: getattr(checked, name) for name in checked.model_fields_set}


@functools.cache
def arguments_model(part: type) -> type[BaseModel]:
    """A strict pydantic model of the arguments of a constructor that ``check_arguments`` checks. Numbers are finite."""
    hints = typing.get_type_hints(part.__init__, include_extras=True)  # type: ignore[misc]
    arguments = {
        name: (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(part).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY or is_dataclass(part)
    }
    config = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(part.__name__, __config__=config, **arguments)  # type: ignore[call-overload]


def validate(model: type[BaseModel], given: Any, where: str = "") -> Any:
    """An instance of a pydantic model.

    Raises:
        ConfigError: What is given is wrong; a line for each mistake says where, what, and what would be right.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(model, item, where) for item in error.errors())) from None


def _explain(model: type[BaseModel], item: Any, where: str) -> str:
    """One line for one of pydantic's errors."""
    place = ".".join(str(part) for part in (where, *item["loc"]) if part != "")
    if item["type"] == "extra_forbidden":
        parent, _, name = place.rpartition(".")
        known = model
        for part in item["loc"][:-1]:
            known = _inner_model(known, part) or known
        return unknown(parent or model.__name__, name, known.model_fields)
    message = item["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if item["type"] in ("missing", "value_error", "too_short"):
        return f"{place or model.__name__}: {message}"
    return f"{place}: {message}, not {quote(item['input'])}"


def _inner_model(model: type[BaseModel], key: Any) -> type[BaseModel] | None:
    """The model of a key of ``model``, looking through ``dict[str, Model]`` and optional types."""
    field = model.model_fields.get(str(key))
    if field is None:
        return None
    candidates = [field.annotation, *typing.get_args(field.annotation)]
    return next((c for c in candidates if inspect.isclass(c) and issubclass(c, BaseModel)), None)
