"""``/v1/generate`` and ``/v1/fill``: all that a run can do, any fields in, any out."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

import torch
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from polymodal.modalities import Modality
from polymodal.serving.errors import ApiError
from polymodal.serving.media import Fetch, data_url, from_url
from polymodal.serving.runs import Run
from polymodal.serving.waiting import Count, Seed, call, find_run, new_seed, sample

router = APIRouter(tags=["polymodal"])
_TYPES = {".png": "image/png", ".webp": "image/webp", ".wav": "audio/wav", ".csv": "text/csv", ".txt": "text/plain"}


class Wanted(BaseModel):
    """What is given and wanted. Pictures, sound and other files are data URLs, all else is written as it is."""

    given: dict[str, Any] = {}
    to: Annotated[list[str], Field(min_length=1)]
    model: str | None = None
    n: Count = 1
    seed: Seed = None
    options: dict[str, dict[str, Any]] | None = None


class Familiar(BaseModel):
    """How familiar a given value is: the share of held-out values that are as unusual, and a text's unknown words."""

    share: float
    unfamiliar: bool
    unknown_words: list[str]


class Samples(BaseModel):
    """Samples, each a value by field, the seed that gives them again, and how familiar what was given is."""

    model: str
    seed: int
    samples: list[dict[str, Any]]
    familiarity: dict[str, Familiar]


class Table(BaseModel):
    """Rows whose missing cells are wanted: null, or not there."""

    rows: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=256)]
    columns: list[str] | None = None
    model: str | None = None
    seed: Seed = 0


class Filled(BaseModel):
    """The rows, their missing cells filled; ``filled`` names those of each row."""

    model: str
    seed: int
    rows: list[dict[str, Any]]
    filled: list[list[str]]


class Fields(BaseModel):
    """The fields of a run: modality, and whether each can be given and generated."""

    model: str
    fields: dict[str, dict[str, Any]]


@router.get("/v1/fields")
async def fields(request: Request, model: str | None = None) -> Fields:
    """What a run can be given, and generates."""
    run = await find_run(request, model)
    told = {
        name: {
            "modality": type(modality).__name__.lower(),
            "given": name in run.pipeline.inputs,
            "generated": name in run.pipeline.outputs,
            "file": not modality.inline,
        }
        for name, modality in run.pipeline.fields.items()
    }
    return Fields(model=run.name, fields=told)


@router.post("/v1/generate")
async def generate(request: Request, wanted: Wanted) -> Samples:
    """Samples any fields from any others. Several agree with one another: each is given those before it."""
    run = await find_run(request, wanted.model)
    seed, given = new_seed(wanted.seed), await _given(request, run, wanted.given)
    made = await sample(request, run, given, wanted.to, n=wanted.n, seed=seed, options=wanted.options)
    samples = [await run_in_threadpool(_written, run, row) for row in made]
    known = await call(request, run, partial(run.pipeline.familiarity, given, learn=False)) if given else {}
    told = {
        name: Familiar(share=one.share, unfamiliar=one.unfamiliar, unknown_words=list(one.unknown_words))
        for name, one in known.items()
    }
    return Samples(model=run.name, seed=seed, samples=samples, familiarity=told)


@router.post("/v1/fill")
async def fill(request: Request, table: Table) -> Filled:
    """Fills the missing cells of rows, each with a sample given the other cells; row k has sample 0 of ``seed`` + k."""
    run = await find_run(request, table.model)
    wanted = table.columns or run.pipeline.outputs
    seed = new_seed(table.seed)

    async def one(number: int, row: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        to = [name for name in wanted if row.get(name) is None]
        if not to:
            return row, []
        try:
            given = await _given(
                request, run, {name: cell for name, cell in row.items() if name in run.pipeline.inputs}
            )
            (made,) = await sample(request, run, given, to, seed=(seed + number) % 2**63)
        except ApiError as error:
            raise ApiError(error.status, f"rows.{number}: {error.message}", retry_after=error.retry_after) from None
        return {**row, **await run_in_threadpool(_written, run, made)}, to

    rows = await asyncio.gather(*(one(number, row) for number, row in enumerate(table.rows)))
    return Filled(model=run.name, seed=seed, rows=[row for row, _ in rows], filled=[names for _, names in rows])


async def _given(request: Request, run: Run, given: dict[str, Any]) -> dict[str, Any]:
    """Raw values; no text of a request may name a file of the server."""
    return await run_in_threadpool(_decoded, run, given, request.app.state.fetch)


def _decoded(run: Run, given: dict[str, Any], fetch: Fetch | None) -> dict[str, Any]:
    values = {}
    for name, value in given.items():
        modality = run.pipeline.fields.get(name)
        if value is None:
            continue
        if modality is not None and isinstance(value, str) and not modality.inline:
            values[name] = from_url(value, name, fetch)
        elif modality is not None and not modality.inline and not isinstance(value, list):
            raise ApiError(400, f"{name}: a data URL is right, data:...;base64,...", param=name)
        else:
            values[name] = value
    return values


@torch.no_grad()
def _written(run: Run, made: dict[str, Any]) -> dict[str, Any]:
    """Objects as JSON: cells of a table, or files as data URLs."""
    return {name: _cell(run, run.pipeline.fields[name], thing) for name, thing in made.items()}


def _cell(run: Run, modality: Modality, thing: Any) -> Any:
    if modality.inline:
        return modality.cell(thing)
    kind = _TYPES.get(modality.suffix, "application/octet-stream")
    return data_url(kind, run.sign(modality.encode(thing), kind))
