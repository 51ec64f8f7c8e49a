"""The application: routes, their limits, health, figures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel

from polymodal import __version__
from polymodal.serving.errors import RESPONSES, add_handlers
from polymodal.serving.figures import Figures
from polymodal.serving.gate import Gate
from polymodal.serving.media import Fetch
from polymodal.serving.routes import audio, chat, embeddings, images, models, native, responses
from polymodal.serving.runs import Runs

ROUTERS = (models, images, audio, chat, responses, embeddings, native)


class Health(BaseModel):
    """Whether the server answers."""

    status: Literal["ok"] = "ok"


def make_app(
    runs: Runs,
    figures: Figures,
    *,
    keys: Sequence[str] = (),
    most_body_bytes: int = 32 << 20,
    most_seconds: float = 120.0,
    fetch: Fetch | None = None,
) -> FastAPI:
    """An ASGI application that answers for some runs.

    Args:
        runs: The runs; the first one is opened before the server is ready.
        figures: Where requests and batches are counted.
        keys: Any of which opens the routes; none for no keys.
        most_body_bytes: Larger bodies are refused.
        most_seconds: After which a request is given up.
        fetch: Gets pictures at addresses that requests name; none for data URLs alone.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(runs.open, next(iter(runs.folders)))
        yield
        await run_in_threadpool(runs.close)

    app = FastAPI(
        title="polymodal",
        version=__version__,
        lifespan=lifespan,
        responses=RESPONSES,
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
    )
    app.state.runs, app.state.most_seconds, app.state.fetch = runs, most_seconds, fetch
    add_handlers(app)
    for module in ROUTERS:
        app.include_router(module.router)

    @app.get("/health", tags=["server"])
    async def health() -> Health:
        """Whether the process answers."""
        return Health()

    @app.get("/ready", tags=["server"])
    async def ready() -> Health:
        """Whether requests are answered; the server listens only then."""
        return Health()

    @app.get("/metrics", tags=["server"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics(request: Request) -> Response:
        """Figures in the format of Prometheus."""
        page = figures.page({run.name: run.engine.waiting for run in runs.opened})
        return Response(page, media_type="text/plain; version=0.0.4")

    app.add_middleware(Gate, figures=figures, keys=keys, most_body_bytes=most_body_bytes)
    return app
