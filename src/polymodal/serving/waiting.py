"""From a request to its samples: values read aside, rows handed to the model's thread, and the client watched."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Annotated, Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field as Bounds

from polymodal.errors import PolymodalError
from polymodal.serving.engine import Made, Options
from polymodal.serving.errors import ApiError
from polymodal.serving.runs import Run, Runs

Seed = Annotated[
    int | None, Bounds(ge=-(2**63), lt=2**63, description="The same seed gives the same bytes; none: a new one.")
]
Count = Annotated[int, Bounds(ge=1, le=64, description="Number of samples.")]
_LOOK_SECONDS = 0.2
"""Between two looks whether the client is still there."""


async def find_run(request: Request, model: str | None) -> Run:
    """The run that a request means.

    Raises:
        ApiError: There is none, or its folder cannot be read.
    """
    runs: Runs = request.app.state.runs
    try:
        return await run_in_threadpool(runs.open, model)
    except PolymodalError as error:  # no fault of the request
        raise ApiError(500, f"model: the run cannot be opened: {error}", param="model") from None


async def sample(
    request: Request,
    run: Run,
    given: Mapping[str, Any],
    to: Sequence[str],
    *,
    n: int = 1,
    seed: int | None = None,
    options: Options | None = None,
) -> list[Made]:
    """Samples 0 to n - 1 of a seed, objects by field each.

    Raises:
        ApiError: Too much waits, it took too long, or the client has gone.
        ConfigError: The run cannot do this.
        DataError: A value cannot be read.
    """
    fields = await run_in_threadpool(run.engine.read, given, to, options)
    return await wait(
        request, run.engine.submit(fields, to, n=n, seed=new_seed(seed), options=options, adapter=run.adapter)
    )


async def call(request: Request, run: Run, work: Any) -> Any:
    """The result of ``work`` in the thread of the run's model.

    Raises:
        ApiError: It took too long, or the client has gone.
    """
    return (await wait(request, [run.engine.call(work, run.adapter)]))[0]


def new_seed(seed: int | None) -> int:
    """The seed, or one that nobody can guess."""
    return secrets.randbits(62) if seed is None else seed % 2**63


async def wait(request: Request, futures: Sequence[Future[Any]]) -> list[Any]:
    """The results; if the client goes, or it takes too long, whatever has not begun is not computed.

    Raises:
        ApiError: It took too long, or the client has gone.
    """
    pending = {asyncio.wrap_future(future) for future in futures}
    waiting, loop = list(pending), asyncio.get_running_loop()
    end = loop.time() + request.app.state.most_seconds
    try:
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            if any(future.done() and future.exception() for future in waiting):
                break
            if pending and await request.is_disconnected():
                raise ApiError(408, "the client has gone")
            if pending and loop.time() > end:
                raise ApiError(
                    504, f"it took more than {request.app.state.most_seconds:g} seconds; ask for less", code="timeout"
                )
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
