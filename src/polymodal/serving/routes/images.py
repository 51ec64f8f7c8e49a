"""``/v1/images``: pictures from a prompt, and from other pictures and a prompt."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, Field

from polymodal.serving.errors import ApiError
from polymodal.serving.events import EVENTS, Event, event_stream
from polymodal.serving.media import PICTURES, data_url
from polymodal.serving.runs import Run
from polymodal.serving.waiting import Seed, find_run, new_seed, sample

router = APIRouter(tags=["images"])

Kind = Literal["png", "jpeg", "webp"]
Form_ = Literal["url", "b64_json"]
PREVIEW_STEPS = (2, 4, 8)
"""Steps of the solver for partial pictures: the same sample, drawn more roughly."""


class Picture(BaseModel):
    """A picture: in base64, or as a data URL."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class Pictures(BaseModel):
    """Pictures, and the seed that gives them again."""

    created: int
    data: list[Picture]
    output_format: Kind = "png"
    seed: int


class Drawing(BaseModel):
    """What is to be drawn."""

    prompt: str
    model: str | None = None
    n: Annotated[int | None, Field(ge=1, le=64)] = 1
    size: str | None = None
    response_format: Form_ | None = None
    output_format: Kind | None = None
    output_compression: Annotated[int | None, Field(ge=0, le=100)] = None
    stream: bool | None = False
    partial_images: Annotated[int | None, Field(ge=0, le=3)] = 0
    seed: Seed = None


@router.post("/v1/images/generations", response_model=Pictures, responses=EVENTS)
async def generate(request: Request, drawing: Drawing) -> Any:
    """Draws pictures from a prompt.

    ``background``, ``quality``, ``style``, ``moderation`` and ``user`` are taken and change nothing.
    """
    run = await find_run(request, drawing.model)
    given = {run.roles.need("prompt"): drawing.prompt}
    return await _answer(request, run, given, run.roles.need("image"), drawing, "image_generation")


@router.post("/v1/images/edits", response_model=Pictures, responses=EVENTS)
async def edit(
    request: Request,
    prompt: Annotated[str, Form()],
    image: Annotated[list[UploadFile] | None, File()] = None,
    images: Annotated[list[UploadFile] | None, File(alias="image[]")] = None,
    mask: Annotated[UploadFile | None, File()] = None,
    model: Annotated[str | None, Form()] = None,
    n: Annotated[int, Form(ge=1, le=64)] = 1,
    size: Annotated[str | None, Form()] = None,
    response_format: Annotated[Form_ | None, Form()] = None,
    output_format: Annotated[Kind | None, Form()] = None,
    output_compression: Annotated[int | None, Form(ge=0, le=100)] = None,
    stream: Annotated[bool, Form()] = False,
    partial_images: Annotated[int, Form(ge=0, le=3)] = 0,
    seed: Annotated[Seed, Form()] = None,
) -> Any:
    """Draws pictures from pictures and a prompt, by a run that has a field for each picture that is given.

    A mask is a picture as well: it is given to the field that follows those of the pictures.
    """
    run = await find_run(request, model)
    target, places = run.roles.need("image"), run.roles.sources
    files = [*(image or []), *(images or []), *([mask] if mask else [])]
    if not files:
        raise ApiError(400, "image: no picture is given", param="image")
    if len(files) > len(places):
        raise ApiError(
            400,
            f"image: {len(files)} pictures are given, and this run draws '{target}' from {len(places)} others"
            f"{' (' + ', '.join(places) + ')' if places else ''}",
            param="image",
        )
    given: dict[str, Any] = {name: await file.read() for name, file in zip(places, files, strict=False)}
    drawing = Drawing(
        prompt=prompt,
        n=n,
        size=size,
        response_format=response_format,
        output_format=output_format,
        output_compression=output_compression,
        stream=stream,
        partial_images=partial_images,
        seed=seed,
    )
    return await _answer(request, run, {run.roles.need("prompt"): prompt} | given, target, drawing, "image_edit")


async def _answer(
    request: Request, run: Run, given: Mapping[str, Any], target: str, drawing: Drawing, word: str
) -> Pictures | Response:
    kind: Kind = drawing.output_format or "png"
    quality = 95 if drawing.output_compression is None else max(1, drawing.output_compression)
    seed, n = new_seed(drawing.seed), drawing.n or 1

    async def draw(options: Mapping[str, Any] | None = None) -> list[str]:
        made = await sample(
            request, run, given, [target], n=n, seed=seed, options={target: options} if options else None
        )
        files = [await run_in_threadpool(run.picture, row[target], kind, drawing.size, quality) for row in made]
        return [base64.b64encode(file).decode() for file in files]

    created = int(time.time())
    if not drawing.stream:
        drawn = await draw()
        if drawing.response_format == "url":
            return Pictures(
                created=created,
                data=[Picture(url=data_url(PICTURES[kind], base64.b64decode(text))) for text in drawn],
                output_format=kind,
                seed=seed,
            )
        return Pictures(created=created, data=[Picture(b64_json=text) for text in drawn], output_format=kind, seed=seed)

    async def events() -> AsyncIterator[Event]:
        about = {
            "created_at": created,
            "output_format": kind,
            "size": drawing.size or "auto",
            "quality": "auto",
            "background": "opaque",
        }
        partial = drawing.partial_images or 0
        rough = "steps" in run.pipeline.model.heads[target].option_names
        for index, steps in enumerate(PREVIEW_STEPS[3 - partial :] if partial and rough else ()):
            text = (await draw({"steps": steps}))[0]
            kind_of_event = f"{word}.partial_image"
            yield {"type": kind_of_event, "b64_json": text, "partial_image_index": index, **about}
        usage = {
            "input_tokens": 0,
            "output_tokens": 0,
            "total_tokens": 0,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        }
        for text in await draw():
            yield {"type": f"{word}.completed", "b64_json": text, "usage": usage, "seed": seed, **about}

    return await event_stream(events())
