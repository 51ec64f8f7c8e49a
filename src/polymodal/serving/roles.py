"""Which field of a run is the prompt, the answer, the picture and the sound of OpenAI's routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from polymodal.api import Generator
from polymodal.errors import ConfigError, unknown
from polymodal.modalities import Audio, Image, Label, Text
from polymodal.serving.errors import ApiError


@dataclass(frozen=True)
class Roles:
    """Names of fields; None where a run has none.

    Attributes:
        prompt: The text that is given.
        answer: The text that is generated; where that is the prompt, it is generated from other fields only.
        image: The picture.
        sound: The speech.
        sources: Other pictures that can be given, in the order in which a request brings them.
    """

    prompt: str | None = None
    answer: str | None = None
    image: str | None = None
    sound: str | None = None
    sources: tuple[str, ...] = ()

    @classmethod
    def of(cls, pipeline: Generator, chosen: Mapping[str, str] | None = None) -> Roles:
        """The first field of each kind, texts before labels, but for those that are chosen.

        Args:
            pipeline: The run.
            chosen: Fields by role.

        Raises:
            ConfigError: A role or field is unknown.
        """
        known, chosen = [field.name for field in fields(cls) if field.name != "sources"], chosen or {}
        for role, name in chosen.items():
            if role not in known:
                raise ConfigError(unknown("map", role, known))
            if name not in pipeline.fields:
                raise ConfigError(unknown(f"map: {role}", name, pipeline.fields))

        def all_of(kinds: tuple[type, ...], names: Iterable[str]) -> list[str]:
            return [name for kind in kinds for name in names if isinstance(pipeline.fields[name], kind)]

        def first(kinds: tuple[type, ...], names: Iterable[str]) -> str | None:
            return next(iter(all_of(kinds, names)), None)

        words = (Text, Label)
        prompt = chosen.get("prompt") or first(words, pipeline.inputs)
        others = [name for name in pipeline.outputs if name != prompt]
        image = chosen.get("image") or first((Image,), pipeline.fields)
        return cls(
            prompt=prompt,
            answer=chosen.get("answer") or first(words, [n for n in pipeline.outputs if n == prompt] + others),
            image=image,
            sound=chosen.get("sound") or first((Audio,), pipeline.fields),
            sources=tuple(name for name in all_of((Image,), pipeline.inputs) if name != image),
        )

    def need(self, role: str) -> str:
        """The field of a role.

        Raises:
            ApiError: There is none.
        """
        name: str | None = getattr(self, role)
        if name is None:
            raise ApiError(400, f"model: this run has no {role}; its owner can name one by --map {role}=FIELD")
        return name
