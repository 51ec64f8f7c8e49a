"""Which field of a run is the prompt, the answer, the picture and the sound of OpenAI's routes."""

from __future__ import annotations

from collections.abc import Mapping
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
    """

    prompt: str | None = None
    answer: str | None = None
    image: str | None = None
    sound: str | None = None

    @classmethod
    def of(cls, pipeline: Generator, chosen: Mapping[str, str] | None = None) -> Roles:
        """The first field of each kind, texts before labels, but for those that are chosen.

        Args:
            pipeline: The run.
            chosen: Fields by role.

        Raises:
            ConfigError: A role or field is unknown.
        """
        known, chosen = [field.name for field in fields(cls)], chosen or {}
        for role, name in chosen.items():
            if role not in known:
                raise ConfigError(unknown("map", role, known))
            if name not in pipeline.fields:
                raise ConfigError(unknown(f"map: {role}", name, pipeline.fields))

        def first(kinds: tuple[type, ...], names: list[str]) -> str | None:
            return next((n for kind in kinds for n in names if isinstance(pipeline.fields[n], kind)), None)

        words = (Text, Label)
        prompt = chosen.get("prompt") or first(words, pipeline.inputs)
        others = [name for name in pipeline.outputs if name != prompt]
        return cls(
            prompt=prompt,
            answer=chosen.get("answer") or first(words, [n for n in pipeline.outputs if n == prompt] + others),
            image=chosen.get("image") or first((Image,), list(pipeline.fields)),
            sound=chosen.get("sound") or first((Audio,), list(pipeline.fields)),
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
