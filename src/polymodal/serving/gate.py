"""What stands before every route: keys, limits of bodies, request numbers, figures, and one line of log."""

from __future__ import annotations

import hmac
import json
import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any

from polymodal.serving.errors import ApiError
from polymodal.serving.figures import Figures

log = logging.getLogger("polymodal.serving.requests")
OPEN = ("/health", "/ready")
"""Routes that answer without a key: they tell nothing."""


class Gate:
    """ASGI middleware around all routes.

    Args:
        app: What it guards.
        figures: Where requests are counted.
        keys: Any of which opens the routes; none for no keys.
        most_body_bytes: Larger bodies are refused, before they are read where their size is told.
    """

    def __init__(self, app: Any, *, figures: Figures, keys: Sequence[str] = (), most_body_bytes: int = 32 << 20):
        self.app, self.figures, self.most_body_bytes = app, figures, most_body_bytes
        self.keys = [key.encode() for key in keys]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        number = uuid.uuid4().hex
        headers = dict(scope["headers"])
        started = False

        async def answer(message: Any) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message["headers"] = [*message["headers"], (b"x-request-id", number.encode())]
            await send(message)

        seen = 0

        async def limited() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most_body_bytes:
                raise self._too_large()
            return message

        try:
            self._check(scope["path"], headers)
            await self.app(scope, limited, answer)
        except ApiError as error:
            if started:
                raise
            await error.response(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "none")
            self.figures.seen(route, status, seconds)
            line = {"request": number, "method": scope["method"], "route": route, "status": status}
            log.info(json.dumps({**line, "seconds": round(seconds, 4), "bytes": seen}))

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        """Raises an ``ApiError`` for a wrong key, or a body that says that it is too large."""
        if self.keys and path not in OPEN:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            right = [hmac.compare_digest(given.strip(), key) for key in self.keys]  # all of them, in constant time
            if scheme.lower() != b"bearer" or not any(right):
                raise ApiError(
                    401, "the key in the header 'Authorization: Bearer KEY' is not right", code="invalid_api_key"
                )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.most_body_bytes:
            raise self._too_large()

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the body has more than {self.most_body_bytes:,} bytes", code="body_too_large")
