"""Errors as clients of OpenAI's API know them: one shape on every route and status."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from polymodal.errors import PolymodalError

log = logging.getLogger("polymodal.serving")


class ErrorBody(BaseModel):
    """What went wrong: ``message`` in words; the ``param`` it is about; ``type`` and ``code`` for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorBody


class ApiError(HTTPException):
    """A request that cannot be answered.

    Args:
        status: Of HTTP.
        message: What, where, and what would be right.
        param: The parameter that it is about.
        code: A word for programs.
        retry_after: Seconds after which another try makes sense.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ):
        super().__init__(status, message)
        self.status, self.message, self.param, self.code, self.retry_after = status, message, param, code, retry_after

    @property
    def response(self) -> JSONResponse:
        """The answer."""
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status)
        kind = kind or ("invalid_request_error" if self.status < 500 else "server_error")
        body = ErrorResponse(error=ErrorBody(message=self.message, type=kind, param=self.param, code=self.code))
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse(body.model_dump(), self.status, headers)


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": HTTPStatus(status).phrase}
    for status in (400, 401, 404, 405, 408, 413, 422, 429, 500, 503, 504)
}
"""Of the OpenAPI page: what every route may answer beside its success."""


def add_handlers(app: FastAPI) -> None:
    """Makes every error of an app one of this shape."""

    @app.exception_handler(ApiError)
    async def _(request: Request, error: ApiError) -> JSONResponse:
        return error.response

    @app.exception_handler(PolymodalError)
    async def _(request: Request, error: PolymodalError) -> JSONResponse:
        return ApiError(400, str(error)).response

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> JSONResponse:
        answer = ApiError(error.status_code, str(error.detail)).response
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return ApiError(400, f"{place}: {first['msg']}" if place else first["msg"], param=place or None).response

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> JSONResponse:
        log.error("a request failed", exc_info=error)
        return ApiError(500, "the server failed at this request; its log says why").response
