"""``/v1/audio``: speech from text, and text from speech."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, Field

from polymodal.modalities.recordings import seconds_of
from polymodal.serving.events import Event, event_stream
from polymodal.serving.media import SOUNDS
from polymodal.serving.waiting import Seed, find_run, new_seed, sample

router = APIRouter(tags=["audio"])
CHUNK_BYTES = 24_000
"""Of sound in one event."""


class Speech(BaseModel):
    """What is to be spoken. ``voice`` and ``instructions`` are taken and change nothing."""

    input: str
    model: str | None = None
    voice: Any = None
    instructions: str | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = "mp3"
    speed: Annotated[float | None, Field(ge=0.25, le=4.0)] = 1.0
    stream_format: Literal["sse", "audio"] | None = "audio"
    seed: Seed = None


@router.post(
    "/v1/audio/speech",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in [*SOUNDS.values(), "text/event-stream"]}}},
)
async def speak(request: Request, speech: Speech) -> Response:
    """Speaks a text."""
    run = await find_run(request, speech.model)
    prompt, target = run.roles.need("prompt"), run.roles.need("sound")
    kind, seed = speech.response_format or "mp3", new_seed(speech.seed)
    (made,) = await sample(request, run, {prompt: speech.input}, [target], seed=seed)
    content = await run_in_threadpool(run.sound, made[target], kind, speech.speed or 1.0)
    if speech.stream_format != "sse":
        return Response(content, media_type=SOUNDS[kind], headers={"X-Seed": str(seed)})

    async def events() -> AsyncIterator[Event]:
        for start in range(0, max(len(content), 1), CHUNK_BYTES):
            part = base64.b64encode(content[start : start + CHUNK_BYTES]).decode()
            yield {"type": "speech.audio.delta", "audio": part}
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        yield {"type": "speech.audio.done", "usage": usage, "seed": seed}

    return await event_stream(events())


class Transcription(BaseModel):
    """What was heard; of ``verbose_json``, what is known of the recording as well."""

    text: str
    task: Literal["transcribe"] | None = None
    language: str | None = None
    duration: float | None = None


@router.post(
    "/v1/audio/transcriptions",
    response_model=Transcription,
    response_model_exclude_none=True,
    responses={200: {"content": {"text/plain": {}, "text/event-stream": {}}}},
)
async def transcribe(
    request: Request,
    file: Annotated[UploadFile, File()],
    model: Annotated[str | None, Form()] = None,
    language: Annotated[str | None, Form()] = None,
    response_format: Annotated[
        Literal["json", "text", "verbose_json", "srt", "vtt", "diarized_json"] | None, Form()
    ] = "json",
    stream: Annotated[bool | None, Form()] = False,
    temperature: Annotated[float | None, Form(ge=0, le=1)] = None,
    seed: Annotated[Seed, Form()] = 0,
) -> Any:
    """Writes down what is said, as the run's likeliest text."""
    run = await find_run(request, model)
    sound, prompt = run.roles.need("sound"), run.roles.need("prompt")
    content = await file.read()
    options = {prompt: {"temperature": temperature or 0.0}}
    takes = "temperature" in run.pipeline.model.heads[prompt].option_names if prompt in run.pipeline.outputs else False
    (made,) = await sample(request, run, {sound: content}, [prompt], seed=seed, options=options if takes else None)
    text = str(made[prompt])
    if stream:

        async def events() -> AsyncIterator[Event]:
            yield {"type": "transcript.text.delta", "delta": text}
            yield {"type": "transcript.text.done", "text": text}

        return await event_stream(events())
    seconds = seconds_of(content) or 0.0
    if response_format in PLAIN:
        return PlainTextResponse(PLAIN[response_format](text, seconds))
    if response_format == "verbose_json":
        return Transcription(text=text, task="transcribe", language=language or "unknown", duration=seconds)
    return Transcription(text=text)


def _subtitle(text: str, seconds: float, comma: str) -> str:
    """All of a text as one subtitle."""
    milliseconds = round(1000 * seconds)
    end = f"{milliseconds // 3_600_000:02}:{milliseconds // 60_000 % 60:02}:{milliseconds // 1000 % 60:02}"
    times = f"00:00:00{comma}000 --> {end}{comma}{milliseconds % 1000:03}"
    return f"{times}\n{text}\n"


PLAIN: dict[str | None, Callable[[str, float], str]] = {
    "text": lambda text, seconds: text,
    "srt": lambda text, seconds: "1\n" + _subtitle(text, seconds, ","),
    "vtt": lambda text, seconds: "WEBVTT\n\n" + _subtitle(text, seconds, "."),
}
"""By format, a text and its seconds -> what is answered as it is."""
