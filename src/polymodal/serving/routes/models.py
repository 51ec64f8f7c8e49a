"""``/v1/models``: the runs and their adapters."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from polymodal.serving.runs import Runs

router = APIRouter(tags=["models"])


class Model(BaseModel):
    """A run."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "polymodal"


class Models(BaseModel):
    """All runs."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/v1/models")
async def list_models(request: Request) -> Models:
    """The runs, and adapters of runs, that requests can name."""
    runs: Runs = request.app.state.runs
    return Models(data=[Model(id=name, created=runs.started) for name in runs.names])


@router.get("/v1/models/{model:path}")
async def get_model(request: Request, model: str) -> Model:
    """One run."""
    runs: Runs = request.app.state.runs
    return Model(id=runs.find(model), created=runs.started)
