"""Engines: who fills the groups of rows. All of them leave the same bytes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from polymodal import stopping
from polymodal.bulk.worker import Job, Worker
from polymodal.checkpoint import digest_of, load_model
from polymodal.device import choose_device
from polymodal.errors import CheckpointError, ConfigError, PolymodalError
from polymodal.model import Model

Engine = Literal["local", "ray"]

WAIT_SECONDS = 1.0
"""Between two looks at groups that other workers are at."""

_BLOCKS = 64
"""For each actor of Ray, which is how evenly the groups are spread."""

Run = Callable[[Sequence[int]], Iterator[tuple[int, bool]]]
"""Groups -> each with whether it is done, in any order."""


def until_done(run: Run, groups: Sequence[int]) -> Iterator[int]:
    """Lets an engine do groups until all are done, those that others are at being looked at again; gives each once."""
    while groups:
        busy = []
        for number, done in run(groups):
            if done:
                yield number
            else:
                busy.append(number)
        groups = sorted(busy)
        if groups:
            time.sleep(WAIT_SECONDS)


def local(model: Model, job: Job) -> Run:
    """This process does one group after another."""
    worker = Worker(model, job)
    return lambda groups: ((number, worker.do(number)) for number in groups)


def on_ray(model: Model, run: str, job: Job, *, device: str | None, address: str | None, workers: int | None) -> Run:
    """Ray Data hands the groups to actors, each of which holds the model, and replaces those that die.

    Args:
        model: The model of the run.
        run: Its folder, which every machine sees at this place.
        job: What to do.
        device: Where the actors compute, such as ``cuda``; None for GPUs if the cluster has any.
        address: Address of the cluster; None for one that is running here, or else that is begun here and now.
        workers: Actors; None for as many as the cluster has GPUs or cores.

    Raises:
        ConfigError: Ray is not installed, or the filling is wrong.
        DataError: The tables cannot be read.
    """
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise ConfigError("engine: ray is not installed; pip install 'polymodal[scale]'") from error

    Worker(model, job)  # says what is wrong before anything is begun
    digest = digest_of(model)
    if not ray.is_initialized():
        with stopping.handlers_kept():
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    there = ray.cluster_resources()
    gpu = device.startswith("cuda") if device else there.get("GPU", 0) >= 1
    count = workers or max(1, int(there.get("GPU" if gpu else "CPU", 1)))

    def do(groups: Sequence[int]) -> Iterator[tuple[int, bool]]:
        # Items lie in the store already: tasks that read them would wait for cores that the actors hold.
        items = ray.data.from_items(list(groups), override_num_blocks=min(len(groups), _BLOCKS * count))
        done = items.map_batches(
            Actor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(count, len(groups))),
            fn_constructor_args=(run, digest, job, "cuda" if gpu else device or "cpu"),
            num_gpus=1 if gpu else None,
        )
        try:
            for row in done.iter_rows():
                yield row["number"], bool(row["done"])
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, PolymodalError):
                raise error.cause from None
            raise

    return do


class Actor:
    """A process of Ray that holds the model; see ``on_ray``.

    Args:
        run: Folder of the run.
        digest: Names the weights of its model.
        job: What to do.
        device: Where the model computes.

    Raises:
        CheckpointError: The run is another one on this machine.
    """

    def __init__(self, run: str, digest: str, job: Job, device: str):
        model = load_model(run).to(choose_device(device)).eval()
        if digest_of(model) != digest:
            raise CheckpointError(f"{run}: holds another model on this machine than where the filling was begun")
        self._worker = Worker(model, job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Does the groups of these numbers."""
        numbers = batch["item"].tolist()
        return {"number": numbers, "done": [self._worker.do(number) for number in numbers]}
