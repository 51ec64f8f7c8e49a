"""``/v1/responses``: a text, or a picture where the tool ``image_generation`` is given."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from polymodal.serving.errors import ApiError
from polymodal.serving.events import EVENTS, Event, event_stream
from polymodal.serving.messages import Said, answer_field
from polymodal.serving.waiting import Seed, find_run, new_seed, sample

router = APIRouter(tags=["responses"])


class Asked(BaseModel):
    """A text or messages, and tools, of which only ``image_generation`` is one here."""

    input: str | list[dict[str, Any]] = []
    model: str | None = None
    tools: list[dict[str, Any]] | None = None
    instructions: str | None = None
    metadata: dict[str, str] | None = None
    stream: bool | None = False
    seed: Seed = None


class Answer(BaseModel):
    """What was made: messages, and pictures in base64."""

    id: str
    object: Literal["response"] = "response"
    created_at: float
    status: Literal["completed"] = "completed"
    model: str
    output: list[dict[str, Any]]
    parallel_tool_calls: bool = False
    tool_choice: Literal["auto"] = "auto"
    tools: list[dict[str, Any]] = []
    metadata: dict[str, str] = {}
    instructions: str | None = None
    error: None = None
    incomplete_details: None = None
    temperature: float | None = None
    top_p: float | None = None


@router.post("/v1/responses", response_model=Answer, responses=EVENTS)
async def respond(request: Request, asked: Asked) -> Any:
    """Answers a text or a conversation."""
    run = await find_run(request, asked.model)
    messages = [{"content": asked.input}] if isinstance(asked.input, str) else asked.input
    given = (await run_in_threadpool(Said.of, messages, request.app.state.fetch)).given(run)
    draws = any(tool.get("type") == "image_generation" for tool in asked.tools or [])
    target = run.roles.need("image") if draws else answer_field(run, given)
    if target in given:
        raise ApiError(400, f"tools: the picture is given, so that '{target}' cannot be generated", param="tools")
    (made,) = await sample(request, run, given, [target], seed=new_seed(asked.seed))
    if draws:
        content = await run_in_threadpool(run.picture, made[target], "png")
        item: dict[str, Any] = {
            "type": "image_generation_call",
            "id": f"ig_{secrets.token_hex(12)}",
            "status": "completed",
            "result": base64.b64encode(content).decode(),
        }
    else:
        text = str(run.pipeline.fields[target].cell(made[target]))
        item = {
            "type": "message",
            "id": f"msg_{secrets.token_hex(12)}",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }
    answer = Answer(
        id=f"resp_{secrets.token_hex(12)}",
        created_at=time.time(),
        model=run.name,
        output=[item],
        metadata=asked.metadata or {},
        instructions=asked.instructions,
    )
    if not asked.stream:
        return answer

    async def events() -> AsyncIterator[Event]:
        whole = answer.model_dump()
        begun = {**whole, "status": "in_progress", "output": []}
        kinds: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
        kinds += [{"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}}]
        if not draws:
            place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
            text = item["content"][0]["text"]
            kinds += [
                {"type": "response.output_text.delta", "delta": text, "logprobs": [], **place},
                {"type": "response.output_text.done", "text": text, "logprobs": [], **place},
            ]
        kinds += [{"type": "response.output_item.done", "output_index": 0, "item": item}]
        kinds += [{"type": "response.completed", "response": whole}]
        for number, event in enumerate(kinds):
            yield {**event, "sequence_number": number}

    return await event_stream(events())
