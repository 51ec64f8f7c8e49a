"""Sizes of the parts of a model: one word scales a recipe, and each part fits its numbers to its space.

A part's constructor chooses the sizes that a recipe leaves out, and gives them as ``sizes``; what comes of it all is
written out in the recipe that a run stores.
"""

from collections.abc import Mapping
from typing import Any

from polymodal.config import FAMILIES, Part, Recipe, arguments_model, build_part

SIZES = {"tiny": (0.5, 0.5), "small": (1, 1), "base": (2, 1.5), "large": (4, 2)}
"""By word, the factors of widths and of depths."""
_WIDTHS = ("width", "hidden_size", "intermediate_size", "channels")
_HEADS = ("heads",)
_DEPTHS = ("depth", "blocks")
_SHOWN = (*_WIDTHS, *_DEPTHS, "heads", "stages", "latent", "levels", "patch")


def scaled(name: str, value: Any, size: str) -> Any:
    """An argument of a part as a recipe's ``size`` has it.

    Widths and numbers of attention heads are multiplied by 1/2, 1, 2 or 4, depths by 1/2, 1, 1.5 or 2, rounded up. A
    width is halved only if it stays a multiple of 8.

    Args:
        name: Of the argument.
        value: As the recipe, or else the constructor, has it; None and what is no size stay.
        size: A word of ``SIZES``.
    """
    if isinstance(value, list | tuple):
        return tuple(scaled(name, number, size) for number in value)
    if not isinstance(value, int):
        return value
    wider, deeper = SIZES[size]
    if name in _DEPTHS:
        return int(-(-value * deeper // 1))
    if name in _WIDTHS:
        return int(value * wider) if value % 16 == 0 or wider >= 1 else value
    if name in _HEADS:
        return int(value * wider) if value % 2 == 0 or wider >= 1 else value
    return value


def scale(recipe: Recipe, family: str, part: Part) -> Part:
    """A part with its sizes scaled, those of its constructor written out; as it is where the recipe is ``small``."""
    kind = FAMILIES[family].get(str(part.get("kind")))
    if recipe.size == "small" or kind is None:
        return part
    defaults = {name: field.default for name, field in arguments_model(kind).model_fields.items()}
    sizes = {name: scaled(name, {**defaults, **part}[name], recipe.size) for name in (*_WIDTHS, *_HEADS, *_DEPTHS)
             if name in defaults}  # fmt: skip
    return part | {name: value for name, value in sizes.items() if value is not None}


def build_sized(recipe: Recipe, family: str, part: Part, where: str, *positional: Any) -> tuple[Any, Part]:
    """A part of the recipe's size and, with every size written out, what a recipe of size ``small`` says of it.

    Args:
        recipe: Whose size.
        family: ``encoder``, ``codec`` or ``head``.
        part: Its kind and arguments.
        where: Its place in the recipe.
        positional: As of ``build_part``.

    Raises:
        ConfigError: As of ``build_part``.
    """
    part = scale(recipe, family, part)
    built = build_part(family, part, where, *positional)
    late = {name: scaled(name, value, recipe.size) for name, value in built.sizes.items() if part.get(name) is None}
    if late != {name: built.sizes[name] for name in late}:  # sizes that the space gave are scaled as well
        built = build_part(family, part | late, where, *positional)
    return built, part | built.sizes


def describe(name: str, shape: tuple[int, ...], parts: Mapping[str, Part | None], numbers: int) -> str:
    """One line of what was chosen for a field: its parts and their sizes.

    Args:
        name: Of the field.
        shape: Of its values.
        parts: By family.
        numbers: Parameters of all of them.
    """
    words = []
    for family, part in parts.items():
        if part:
            sizes = [f"{key}={_short(value)}" for key, value in part.items() if key in _SHOWN and value is not None]
            words.append(" ".join([family, part["kind"], *sizes]))
    return f"{name} {_short(shape)}: {'; '.join(words)}; {numbers / 1e6:.2g} M parameters"


def _short(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
