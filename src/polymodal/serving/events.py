"""Server-sent events."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from polymodal.errors import PolymodalError
from polymodal.serving.errors import ApiError, ErrorBody, ErrorResponse

Event = Mapping[str, Any]
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
"""Of the OpenAPI page: a route whose answer may be events."""
log = logging.getLogger("polymodal.serving")


async def event_stream(
    events: AsyncIterator[Event], *, named: bool = True, end: str | None = None
) -> StreamingResponse:
    """An answer of events, each a JSON object.

    The first is awaited before the answer begins, so that a request that cannot be answered gets a status of its own.

    Args:
        events: At least one.
        named: Whether each has its ``type`` as the name of the event as well.
        end: What closes the stream.
    """
    first = await anext(events)

    async def body() -> AsyncIterator[str]:
        yield _written(first, named)
        try:
            async for event in events:
                yield _written(event, named)
        except (HTTPException, PolymodalError) as error:
            message = error.detail if isinstance(error, ApiError) else str(error)
            yield _failed(message)
        except Exception:
            log.exception("a stream failed")
            yield _failed("the server failed at this request; its log says why")
        if end is not None:
            yield f"data: {end}\n\n"

    return StreamingResponse(body(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def _written(event: Event, named: bool) -> str:
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n"


def _failed(message: str) -> str:
    body = ErrorResponse(error=ErrorBody(message=message, type="server_error"))
    return f"event: error\ndata: {body.model_dump_json()}\n\n"
