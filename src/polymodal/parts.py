"""Parts: what a recipe says of encoders, codecs, heads and others, and how one is made of that.

The schema of a part is the signature of its constructor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from polymodal.alignment import ALIGNMENTS
from polymodal.arguments import check_arguments
from polymodal.balancing import BALANCERS
from polymodal.codecs import CODECS
from polymodal.encoders import ENCODERS
from polymodal.errors import ConfigError, unknown
from polymodal.fusion import FUSIONS
from polymodal.heads import HEADS
from polymodal.modalities import Modality
from polymodal.types import Space
from polymodal.vocoders import VOCODERS

STRICT = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)
"""Of all models of a recipe: what they do not know is refused."""
Part = dict[str, Any]
"""``{kind: name, **arguments}``, checked against the constructor of that name."""


class Parts(BaseModel):
    """How the fields of one modality, or one field, are read, compressed, generated and, if sound, made heard."""

    model_config = STRICT
    encoder: Part | None = None
    codec: Part | None = None
    head: Part | None = None
    vocoder: Part | None = None


class SmallParts(Parts):
    """The parts of fields of at most ``places`` places in their grid: a picture of 32 x 32 pixels has 1,024."""

    places: int = Field(ge=1)


class DefaultParts(Parts):
    """The parts of one modality's fields.

    Attributes:
        from_scratch: Those in place of what comes trained, for recipes with ``from_scratch`` and for fields that the
            codec or the vocoder does not take; null is none.
        small: Those of small fields, as far as it names them; they have no codec unless it names one.
    """

    from_scratch: Parts | None = None
    small: SmallParts | None = None

    def of(self, space: Space | None, modality: Modality | None = None, from_scratch: bool = False) -> Parts:
        """Those of a field of a space; if it is not known, of a large one."""
        parts = self.model_dump(include=set(Parts.model_fields))
        if self.from_scratch and (from_scratch or any(self.refusals(space, modality))):
            parts |= self.from_scratch.model_dump(exclude_unset=True)
        if self.small and self._is_small(space):
            parts |= {"codec": None} | self.small.model_dump(exclude={"places"}, exclude_none=True)
        return Parts(**parts)

    def refusals(self, space: Space | None, modality: Modality | None = None) -> Iterator[tuple[str, str]]:
        """Of the codec and the vocoder, as far as a field needs them, those that do not take it, and why."""
        if self.codec and space and not self._is_small(space) and (reason := CODECS[self.codec["kind"]].accepts(space)):
            yield "codec", f"codec {self.codec['kind']} {reason}, not {space}"
        if self.vocoder and modality and (reason := VOCODERS[self.vocoder["kind"]].accepts(modality)):
            yield "vocoder", f"vocoder {self.vocoder['kind']} {reason}, not {modality}"

    def _is_small(self, space: Space | None) -> bool:
        return self.small is not None and space is not None and math.prod(space.grid) <= self.small.places


class FieldConfig(Parts):
    """One field: its modality with that modality's arguments, and the parts that differ from the defaults.

    Attributes:
        modality: A name of the table of modalities.
        arguments: Of the modality.
        column: Column of the source, if it is not called as the field is.
        role: Whether the field is given, generated, or either.
        language: What is written or spoken, such as ``en`` or ``fr`` (ISO 639-1), for who has to hear or read it;
            guessed if not given.
        weight: Weight of the field's losses.
    """

    modality: str
    arguments: dict[str, Any] = {}
    column: str | None = None
    role: Literal["input", "output", "both"] = "both"
    language: str | None = None
    weight: float = Field(1.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        """Keys that are not a field's own are the modality's arguments: ``{modality: image, size: 64}``."""
        if not isinstance(given, Mapping):
            return given
        own = {name: value for name, value in given.items() if name in cls.model_fields}
        rest = {name: value for name, value in given.items() if name not in cls.model_fields}
        if "where" in rest:  # of ``build``
            raise ValueError("'where' is no argument of a modality")
        return own | {"arguments": {**own.get("arguments", {}), **rest}}


_FAMILIES: dict[str, Mapping[str, type]] = {
    "encoder": ENCODERS,
    "codec": CODECS,
    "head": HEADS,
    "vocoder": VOCODERS,
    "fusion": FUSIONS,
    "alignment": ALIGNMENTS,
    "balancer": BALANCERS,
}


def build_part(family: str | Mapping[str, type], part: Part, where: str, *positional: Any) -> Any:
    """Constructs ``part`` of a family ("encoder", "head", ...) with the arguments that the model fills in.

    A family of a layer above this one is given by its table.

    Raises:
        ConfigError: The kind or an argument is unknown or wrong, or the part does not fit what the model fills in; the
            message starts with ``where``.
    """
    kind, arguments = check_part(family, part, where)
    accepts = getattr(kind, "accepts", None)
    if accepts and (reason := accepts(positional[0])):
        raise ConfigError(f"{where}.kind: '{part['kind']}' does not fit: it {reason}, not {positional[0]}")
    try:
        return kind(*positional, **arguments)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None


def check_part(family: str | Mapping[str, type], part: Part, where: str) -> tuple[type, dict[str, Any]]:
    """The class of a part and the arguments that a recipe gives it.

    Raises:
        ConfigError: The kind is missing or unknown, or an argument is unknown, missing, of another type or out of its
            bounds; the message starts with ``where``.
    """
    table, kind = _FAMILIES[family] if isinstance(family, str) else family, part.get("kind")
    if kind is None:
        raise ConfigError(f"{where}.kind: is missing; choose among {', '.join(sorted(table))}")
    if not isinstance(kind, str) or kind not in table:
        raise ConfigError(unknown(f"{where}.kind", str(kind), table))
    given = {name: value for name, value in part.items() if name != "kind"}
    return table[kind], check_arguments(table[kind], given, where)
