"""Training on a Ray cluster: Ray Train starts the processes, and starts them again where a machine is lost.

What the processes do is what those of ``torchrun`` do. All of them see one run folder; the newest checkpoint in it is
where they go on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymodal import ray_cluster
from polymodal.errors import ConfigError, PolymodalError, TrainingError
from polymodal.preparation import describe_data, prepare

RESTARTS = 8
"""Failures after which a training is given up."""


def train_on_ray(
    recipe: Any,
    source: Any,
    settings: Mapping[str, Any],
    run: Path,
    *,
    workers: int,
    address: str | None = None,
    overwrite: bool = False,
    strict: bool = False,
    restarts: int = RESTARTS,
) -> list[str]:
    """Trains a recipe with several processes on the machines of a cluster.

    Args:
        recipe: Name of a recipe that comes with the package, a YAML file, its contents, or a ``Recipe``.
        source: Data, which every machine reaches under the same name.
        settings: Keys of the recipe, dotted.
        run: Folder of the run, which every machine reaches under the same name.
        workers: Processes; each has a GPU of its own where the cluster has so many.
        address: Where the cluster is; None for the one that ``RAY_ADDRESS`` names, else for this machine alone.
        overwrite: Start anew if another run is there.
        strict: Raise at the first row that cannot be read.
        restarts: Failures, such as the loss of a machine, after which it is given up.

    Returns:
        What to know of the data, in lines.

    Raises:
        ConfigError: Ray is not installed or does not answer, or the recipe is wrong.
        DataError: The data are wrong.
        TrainingError: It failed too often; says why the last time.
    """
    with ray_cluster.needed():
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchTrainer

    if workers < 1:
        raise ConfigError(f"--workers: {workers} is not at least 1")
    run = run.absolute()
    resolved, data = prepare(recipe, source, settings, strict=strict)  # mistakes are told before anything is started
    told = describe_data(data)
    given: dict[str, Any] = {
        "recipe": resolved.model_dump(mode="json", exclude_unset=True), "source": resolved.data.source or source,
        "run": str(run), "overwrite": overwrite, "strict": strict,
    }  # fmt: skip
    if not isinstance(given["source"], str | Path):
        raise ConfigError("data: rows in memory are on one machine only; name files that all machines reach")
    del data
    started = ray_cluster.connect(address, log_to_driver=True)
    storage = _storage(run)
    shutil.rmtree(storage, ignore_errors=True)
    storage.mkdir(parents=True)
    try:
        gpus = ray.cluster_resources().get("GPU", 0) >= workers
        trainer = TorchTrainer(
            _work,
            train_loop_config=given,
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
            run_config=RunConfig(
                name="train", storage_path=str(storage), failure_config=FailureConfig(max_failures=restarts)
            ),
        )
        trainer.fit()
    except (TrainingFailedError, ray.exceptions.RayError) as error:
        raise TrainingError(f"{run}: {_reason(error)}; what is saved stays, and the same command continues") from None
    finally:
        shutil.rmtree(storage, ignore_errors=True)
        if started:
            ray.shutdown()
    return told


def _work(given: Mapping[str, Any]) -> None:
    """One process, whose rank Ray has put into the environment."""
    import ray.train

    from polymodal.training import stages

    run = Path(given["run"])
    first, begun = ray.train.get_context().get_world_rank() == 0, _storage(run) / "begun"
    recipe, data = prepare(given["recipe"], given["source"], strict=given["strict"])
    anew = given["overwrite"] and not begun.exists()  # not a second time, after a machine was lost
    if first:
        begun.touch()
    stages.fit(recipe, data, run, overwrite=anew, print_progress=first)


def _storage(run: Path) -> Path:
    """Where Ray keeps what it has to know of a training while that lasts."""
    return run.with_name(f".{run.name}.ray")


def _reason(error: BaseException) -> str:
    """The last line of what a worker says."""
    failures = getattr(error, "worker_failures", None) or {}
    cause: BaseException = next(iter(failures.values()), error)
    while (inner := getattr(cause, "cause", None) or cause.__cause__) is not None and inner is not cause:
        cause = inner
    if isinstance(cause, PolymodalError):
        return str(cause)
    return f"the training failed: {type(cause).__name__}: {' '.join(str(cause).split())[-300:]}"
