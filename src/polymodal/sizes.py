"""Sizes of the parts of a model: one word scales a recipe, and each part fits its numbers to its space.

The constructor of a part chooses the sizes that a recipe leaves out, which are then in its attribute ``sizes``. The
recipe that a run stores has all of them written out, and is of size ``small``, which leaves numbers as they are.
"""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from polymodal.config import Recipe
from polymodal.parts import Part, build_part, check_part

FACTORS = {"tiny": (0.5, 0.5), "small": (1.0, 1.0), "base": (2.0, 1.5), "large": (4.0, 2.0)}
"""By word, the factors of widths and of depths."""
_WIDTHS, _HEADS, _DEPTHS = ("width", "hidden_size", "intermediate_size", "channels"), ("heads",), ("depth", "blocks")
_SHOWN = (*_WIDTHS, *_DEPTHS, *_HEADS, "stages", "latent", "levels", "patch")


def scaled(name: str, value: Any, size: str) -> Any:
    """An argument of a part, or the width of a recipe, in another size; as it is if it is none of these.

    Widths and channels are multiplied by 1/2, 1, 2 or 4, and attention heads with them; depths by 1/2, 1, 1.5 or 2,
    rounded up. A width is halved only if a multiple of 8 is left, and heads only if they are even.
    """
    if isinstance(value, list | tuple):
        return [scaled(name, number, size) for number in value]
    wider, deeper = FACTORS[size]
    if not isinstance(value, int):
        return value
    if name in _DEPTHS:
        return int(-(-value * deeper // 1))
    multiple = 16 if name in _WIDTHS else 2 if name in _HEADS else 0
    return int(value * wider) if multiple and (wider >= 1 or value % multiple == 0) else value


def scaled_part(recipe: Recipe, family: str, part: Part, where: str) -> Part:
    """A part in the recipe's size, the sizes that its constructor has by default written out.

    Raises:
        ConfigError: Its kind or an argument is unknown or wrong.
    """
    if recipe.size == "small":
        return part
    arguments = signature(check_part(family, part, where)[0]).parameters.values()
    given = {a.name: a.default for a in arguments if a.kind is a.KEYWORD_ONLY and a.name in _SHOWN} | part
    return part | {name: scaled(name, value, recipe.size) for name, value in given.items() if value is not None}


def build_sized(recipe: Recipe, family: str, part: Part, where: str, *positional: Any) -> tuple[Any, Part]:
    """A part in the recipe's size, and its description with all sizes written out.

    Args:
        recipe: Whose size it is.
        family: ``encoder``, ``codec`` or ``head``.
        part: Its kind and arguments.
        where: Its place in the recipe.
        positional: What the model fills in, such as the space.

    Raises:
        ConfigError: The kind or an argument is unknown or wrong, or the part does not fit what the model fills in.
    """
    part = scaled_part(recipe, family, part, where)
    built = build_part(family, part, where, *positional)
    if recipe.size != "small":  # what follows from the space is scaled as well
        part |= {name: scaled(name, value, recipe.size) for name, value in built.sizes.items() if not part.get(name)}
        built = build_part(family, part, where, *positional)
    return built, part | built.sizes


def describe(name: str, shape: tuple[int, ...], parts: Mapping[str, Part | None], parameters: int) -> str:
    """One line on a field: its parts by family with their sizes, and the number of their parameters."""
    words = [
        " ".join([family, part["kind"], *(f"{key}={_short(part[key])}" for key in _SHOWN if part.get(key) is not None)])
        for family, part in parts.items()
        if part
    ]
    return f"{name} ({'x'.join(map(str, shape))}): {'; '.join(words)}; {parameters / 1e6:.2f} M parameters"


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
