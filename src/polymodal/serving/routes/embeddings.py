"""``/v1/embeddings``: texts in the space of a run's alignment, where what belongs together lies together."""

from __future__ import annotations

import base64
from functools import partial
from typing import Annotated, Any, Literal

import torch
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from polymodal.generation import read
from polymodal.serving.errors import ApiError
from polymodal.serving.waiting import call, find_run

router = APIRouter(tags=["embeddings"])
AT_A_TIME = 32
"""Texts between two of which others have their turn."""

Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=8192)]
Words = Annotated[list[str], Field(min_length=1, max_length=2048)]


class Wanted(BaseModel):
    """What is to be embedded: texts, or ids of bytes."""

    input: str | Words | Ids | Annotated[list[Ids], Field(min_length=1, max_length=2048)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[int | None, Field(ge=1)] = None


class Embedding(BaseModel):
    """A unit vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """In the order of the texts."""

    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: Usage


@router.post("/v1/embeddings")
async def embed(request: Request, wanted: Wanted) -> Embeddings:
    """Embeds texts. ``dimensions`` keeps the first ones, and makes them a unit vector again."""
    run = await find_run(request, wanted.model)
    name = run.roles.need("prompt")
    texts = _texts(wanted.input)

    def work(part: list[str]) -> tuple[torch.Tensor, int]:
        run.embedder.check([name], "model")
        modality, vectors, tokens = run.pipeline.fields[name], [], 0
        for text in part:  # one after the other: a vector must not depend on the others
            value = read(name, modality, text).to(run.pipeline.model.device)
            tokens += int(value.lengths[0])
            vectors.append(run.embedder.embed(name, value))
        return torch.cat(vectors), tokens

    parts = [texts[start : start + AT_A_TIME] for start in range(0, len(texts), AT_A_TIME)]
    done = [await call(request, run, partial(work, part)) for part in parts]
    vectors, tokens = torch.cat([vectors for vectors, _ in done]), sum(count for _, count in done)
    if wanted.dimensions is not None:
        if wanted.dimensions > vectors.shape[1]:
            raise ApiError(400, f"dimensions: this run has {vectors.shape[1]}", param="dimensions")
        vectors = torch.nn.functional.normalize(vectors[:, : wanted.dimensions], dim=1)
    written: list[Any] = await run_in_threadpool(_written, vectors, wanted.encoding_format)
    data = [Embedding(index=index, embedding=vector) for index, vector in enumerate(written)]
    return Embeddings(model=run.name, data=data, usage=Usage(prompt_tokens=tokens, total_tokens=tokens))


def _texts(wanted: Any) -> list[str]:
    """Texts; ids are those of bytes, as of a run that knows no other."""
    if isinstance(wanted, str):
        return [wanted]
    if all(isinstance(one, str) for one in wanted):
        return list(wanted)
    rows = [wanted] if isinstance(wanted[0], int) else wanted
    try:
        return [bytes(row).decode() for row in rows]
    except ValueError:
        raise ApiError(400, "input: ids are bytes of a text in UTF-8 here, 0 to 255", param="input") from None


def _written(vectors: torch.Tensor, form: str | None) -> list[Any]:
    if form == "base64":
        return [base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode() for vector in vectors]
    return vectors.tolist()
