"""Engines: who does the groups of rows. All of them leave the same bytes."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from polymodal import ray_cluster, stopping
from polymodal.bulk.worker import Work
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


def share(
    model: Model,
    work: Work,
    count: int,
    *,
    run: str | Path | None = None,
    engine: Engine = "local",
    address: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    shard: tuple[int, int] = (1, 1),
) -> tuple[range, Iterator[int]]:
    """A share of the groups of some work, which are done as they are asked for.

    Args:
        model: Any.
        work: What to do.
        count: Number of all groups.
        run: Folder that the model is from; of engine ``ray``, one that every machine sees.
        engine: ``local`` is this process; ``ray`` are actors on a cluster of Ray.
        address: Address of the cluster; None for one that is running here, or else that is begun here and now.
        workers: Actors; None for as many as the cluster has GPUs or cores for.
        device: Where the actors compute, such as ``cuda``; None for GPUs if the cluster has any.
        shard: ``(i, n)`` does every n-th group from the i-th on, from 1, so that n calls on n machines do all.

    Returns:
        Numbers of the groups of the share, and each of them again once it is done, by whomever, in any order.

    Raises:
        ConfigError: An argument is wrong, Ray is not installed or does not answer, or the work cannot be done.
        DataError: The tables cannot be read.
    """
    place, shards = shard
    if engine not in ("local", "ray"):
        raise ConfigError(f"engine: '{engine}' is neither 'local' nor 'ray'")
    if not 1 <= place <= shards:
        raise ConfigError(f"shard: {place}/{shards} is none; 1/{shards} to {shards}/{shards} are")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers: {workers} is not at least 1")
    do_group = work.start(model)  # says what is wrong before anything is begun
    if engine == "local":
        do = _local(do_group)
    elif run is None:
        raise ConfigError("engine: ray needs a run, whose folder every machine sees; this model is of none")
    else:
        do = _on_ray(model, str(Path(run).absolute()), work, device=device, address=address, workers=workers)
    own = range(place - 1, count, shards)
    return own, _until_done(do, own)


def _until_done(run: Run, groups: Sequence[int]) -> Iterator[int]:
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


def _local(do_group: Callable[[int], bool]) -> Run:
    """This process does one group after another; what is in work when a signal comes is finished."""

    def do(groups: Sequence[int]) -> Iterator[tuple[int, bool]]:
        for number in groups:
            with stopping.finishing():
                done = do_group(number)
            yield number, done

    return do


def _on_ray(model: Model, run: str, work: Work, *, device: str | None, address: str | None, workers: int | None) -> Run:
    """Ray Data hands the groups to actors, each of which holds the model, and replaces those that die."""
    ray_cluster.connect(address)
    import ray.data

    digest = digest_of(model)
    ray.data.DataContext.get_current().enable_progress_bars = False
    there = ray.cluster_resources()
    gpu = device.startswith("cuda") if device else there.get("GPU", 0) >= 1
    # An actor takes the cores that it computes with, but no more than a machine has.
    cores = max(1, min(work.threads, max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes())))
    count = workers or max(1, int(there.get("GPU", 1) if gpu else there.get("CPU", 1) // cores))

    def do(groups: Sequence[int]) -> Iterator[tuple[int, bool]]:
        # Items lie in the store already: tasks that read them would wait for cores that the actors hold.
        items = ray.data.from_items(list(groups), override_num_blocks=min(len(groups), _BLOCKS * count))
        done = items.map_batches(
            Actor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(count, len(groups))),
            fn_constructor_args=(run, digest, work, "cuda" if gpu else device or "cpu"),
            num_cpus=None if gpu else cores,
            num_gpus=1 if gpu else None,
        )
        for row in done.iter_rows():
            if row["error"]:
                raise pickle.loads(row["error"])
            yield row["number"], bool(row["done"])

    return do


class Actor:
    """A process of Ray that holds the model; see ``share``.

    Args:
        run: Folder of the run.
        digest: Names the weights of its model.
        work: What to do.
        device: Where the model computes.
    """

    def __init__(self, run: str, digest: str, work: Work, device: str):
        self.run, self.digest, self.work, self.device = run, digest, work, device

    @cached_property
    def _do(self) -> Callable[[int], bool]:
        model = load_model(self.run).to(choose_device(self.device)).eval()
        if digest_of(model) != self.digest:
            raise CheckpointError(f"{self.run}: holds another model on this machine than where the work was begun")
        return self.work.start(model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Does the group of a number, and says what is wrong, of which Ray itself would make text."""
        (number,) = batch["item"].tolist()
        done, error = False, b""
        try:
            done = self._do(number)
        except PolymodalError as wrong:
            error = pickle.dumps(wrong)
        return {"number": [number], "done": [done], "error": [error]}
