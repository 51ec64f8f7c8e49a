"""``/v1/chat/completions``: a text, and its sound, from the last text, picture and sound of a conversation."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from polymodal.serving.errors import ApiError
from polymodal.serving.events import EVENTS, Event, event_stream
from polymodal.serving.messages import Said, answer_field
from polymodal.serving.waiting import Seed, find_run, new_seed, sample

router = APIRouter(tags=["chat"])
TEXT = "text"
"""What is always answered."""
AUDIO_SECONDS = 3600
"""After which a client may forget a sound."""


class Voice(BaseModel):
    """The form of the sound that is asked for; the voice is the run's own."""

    format: Literal["wav", "mp3", "flac", "opus", "aac", "pcm16", "pcm"] = "wav"
    voice: Any = None


class Conversation(BaseModel):
    """Messages, of which the last text, picture and sound are taken."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    model: str | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    audio: Voice | None = None
    n: Annotated[int | None, Field(ge=1, le=64)] = 1
    seed: Seed = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    stream: bool | None = False


class Sound(BaseModel):
    """A sound and what it says."""

    id: str
    data: str
    expires_at: int
    transcript: str


class Message(BaseModel):
    """What is answered."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = None
    audio: Sound | None = None


class Choice(BaseModel):
    """One answer."""

    index: int
    finish_reason: Literal["stop"] = "stop"
    message: Message
    logprobs: None = None


class Completion(BaseModel):
    """Answers, and the seed that gives them again."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    seed: int


@router.post("/v1/chat/completions", response_model=Completion, responses=EVENTS)
async def complete(request: Request, conversation: Conversation) -> Any:
    """Answers with a text, and with its sound where ``modalities`` has ``audio``."""
    run = await find_run(request, conversation.model)
    said = await run_in_threadpool(Said.of, conversation.messages, request.app.state.fetch)
    given = said.given(run)
    target = answer_field(run, given)
    heads, to, seed = run.pipeline.model.heads, [target], new_seed(conversation.seed)
    aloud = any(modality != TEXT for modality in conversation.modalities or ())
    if aloud:
        sound = run.roles.need("sound")
        if sound in given:
            raise ApiError(400, f"modalities: the sound is given, so that '{sound}' cannot be generated")
        to.append(sound)
    warm = conversation.temperature is not None and "temperature" in heads[target].option_names
    options = {target: {"temperature": conversation.temperature}} if warm else None
    made = await sample(request, run, given, to, n=conversation.n or 1, seed=seed, options=options)
    number, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
    choices = []
    for index, row in enumerate(made):
        text = str(run.pipeline.fields[target].cell(row[target]))
        message = Message(content=text)
        if aloud:
            form = (conversation.audio or Voice()).format
            content = await run_in_threadpool(run.sound, row[sound], "pcm" if form == "pcm16" else form)
            message = Message(
                content=None,
                audio=Sound(
                    id=f"audio-{secrets.token_hex(8)}",
                    data=base64.b64encode(content).decode(),
                    expires_at=created + AUDIO_SECONDS,
                    transcript=text,
                ),
            )
        choices.append(Choice(index=index, message=message))
    if not conversation.stream:
        return Completion(id=number, created=created, model=run.name, choices=choices, seed=seed)

    async def events() -> AsyncIterator[Event]:
        head = {"id": number, "object": "chat.completion.chunk", "created": created, "model": run.name}
        for choice in choices:
            delta = {"role": "assistant", **choice.message.model_dump(exclude={"role"}, exclude_none=True)}
            for part, finish in ((delta, None), ({}, "stop")):
                yield {**head, "choices": [{"index": choice.index, "delta": part, "finish_reason": finish}]}

    return await event_stream(events(), named=False, end="[DONE]")
