"""What a conversation gives: the last words, picture and sound in it, as values of a run's fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polymodal.errors import quote
from polymodal.serving.errors import ApiError
from polymodal.serving.media import Fetch, from_base64, from_url
from polymodal.serving.runs import Run

_TEXT = ("text", "input_text", "output_text", "refusal")
_IMAGE = ("image_url", "input_image")


@dataclass
class Said:
    """Of a conversation, the last of each kind; None where there is none."""

    text: str | None = None
    image: bytes | None = None
    sound: bytes | None = None

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, Any]], fetch: Fetch | None = None) -> Said:
        """Reads messages of the chat and of the responses API; pictures at addresses by ``fetch``, if at all.

        Raises:
            ApiError: A part is none that is known, or cannot be decoded.
        """
        said = cls()
        for message in messages:
            content = message.get("content")
            if isinstance(content, str):
                said.text = content
            elif content is not None and not isinstance(content, list):
                raise ApiError(400, "messages: content is a text or a list of parts", param="messages")
            else:
                said._add_parts(content or [], fetch)
        return said

    def _add_parts(self, parts: Sequence[Any], fetch: Fetch | None) -> None:
        words = []
        for part in parts:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in _TEXT:
                words.append(str(part.get("text") or part.get("refusal") or ""))
            elif kind in _IMAGE:
                place = part.get("image_url")
                url = str(place.get("url") if isinstance(place, dict) else place)
                self.image = from_url(url, "image_url", fetch)
            elif kind == "input_audio":
                sound = part.get("input_audio")
                data = sound.get("data") if isinstance(sound, dict) else None
                self.sound = from_base64(str(data or ""), "input_audio")
            else:
                known = ", ".join((*_TEXT, *_IMAGE, "input_audio"))
                raise ApiError(400, f"messages: a part of type {quote(kind)}; {known} are read", param="messages")
        if words:
            self.text = "\n".join(words)

    def given(self, run: Run) -> dict[str, Any]:
        """Raw values by field of a run.

        Raises:
            ApiError: The run has no field for one.
        """
        roles = {"prompt": self.text or None, "image": self.image, "sound": self.sound}
        return {run.roles.need(role): value for role, value in roles.items() if value is not None}


def answer_field(run: Run, given: Mapping[str, Any]) -> str:
    """The text that answers: the run's answer, or its prompt where that is not given.

    Raises:
        ApiError: No text is left to be generated.
    """
    for name in (run.roles.answer, run.roles.prompt):
        if name is not None and name in run.pipeline.outputs and name not in given:
            return name
    others = [name for name in run.pipeline.outputs if name not in given and run.pipeline.fields[name].inline]
    if others:
        return others[0]
    raise ApiError(
        400,
        f"messages: this run generates no text from {', '.join(given)}; give a picture or a sound",
        param="messages",
    )
