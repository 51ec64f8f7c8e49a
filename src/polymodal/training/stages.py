"""A run: its codecs and vocoders first, then the model on the codecs' latents."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from polymodal import checkpoint as checkpoints
from polymodal.config import Recipe, load_recipe
from polymodal.data import Data, Rows
from polymodal.errors import CheckpointError, ConfigError, quote
from polymodal.familiarity import FamiliarityMeter
from polymodal.files import read_json, write_file
from polymodal.generation import sample_grid
from polymodal.migration import OLDER, migrate_config
from polymodal.model import Model
from polymodal.nn.compilation import compile_networks, restore_networks
from polymodal.parts import Parts, build_part
from polymodal.pivots import HeldOutLosses, choose_pivots, choose_screens
from polymodal.resolution import replaced, resolve, untaught
from polymodal.sizes import describe
from polymodal.training import pretraining, tasks
from polymodal.training.adaptation import Adaptation
from polymodal.training.best_weights import BestWeights
from polymodal.training.ema import Average
from polymodal.training.engines import ENGINES, Engine
from polymodal.training.frozen import with_frozen
from polymodal.training.gradient_checkpointing import checkpoint_blocks, restore_blocks
from polymodal.training.loop import train
from polymodal.training.precision import precision, quicken_convolutions, restore_convolutions
from polymodal.training.rates import Rates
from polymodal.training.step_loader import StepLoader
from polymodal.training.target_sampling import TARGET_SAMPLERS
from polymodal.types import Task

_log = logging.getLogger(__name__)
_FEWEST_ROWS, _MOST_REPEATS = 1024, 16
"""A step may have so many rows, and else hold each row so many times: more would take long and teach nothing."""
_LOCK = ".lock"
"""A file in a run folder, which the process that trains there has locked."""


def fit(
    recipe: Recipe,
    data: Data,
    run: str | Path,
    *,
    overwrite: bool = False,
    device: torch.device | None = None,
    print_progress: bool = True,
) -> Model:
    """Trains a recipe on data, in a folder of its own; goes on where an earlier call was stopped.

    Args:
        recipe: Without fields, it takes those of the data.
        data: Rows.
        run: Folder of the run: recipe, checkpoints, metrics, samples.
        overwrite: Start anew if another run is there.
        device: Where to compute; a GPU if there is one, where not given.
        print_progress: Whether to tell how far it is.

    Returns:
        The model with averaged weights, ready to generate.

    Raises:
        ConfigError: The recipe does not fit the data.
        CheckpointError: The folder holds a run of another recipe or of other data.
        TrainingError: Losses, gradients or weights are not finite, and will not be so again.
        Stopped: Ctrl-C, or a signal that a command sees to, asked for it; the step that was in work is saved.
    """
    run, recipe = Path(run), resolve(recipe, data.fields, data.train.names)
    config = recipe.train
    if not len(data.train):
        raise ConfigError("data: there are no training rows")
    if config.batch_size > (most := max(_FEWEST_ROWS, _MOST_REPEATS * len(data.train))):
        raise ConfigError(
            f"train.batch_size: {config.batch_size:,} rows of one step, where there are {len(data.train):,} in all; "
            f"up to {most:,} are right"
        )
    numbers = precision(config.precision, device)
    whole = "no" if numbers == "convolutions" else numbers
    engine: Engine = build_part(ENGINES, config.engine, "train.engine", whole, device)
    shares = engine.world_size * config.accumulate
    if recipe.alignment and engine.world_size > 1 and config.batch_size % shares:
        raise ConfigError(
            f"train.batch_size: {config.batch_size} rows cannot be divided evenly into {shares} (processes x "
            "train.accumulate), as an alignment, which sees those of all processes, needs it; take a multiple"
        )
    torch.manual_seed(config.seed)
    model = Model(recipe, data.fields)
    if config.vocoder_from is not None:
        pretraining.take_vocoders(model, config.vocoder_from)
    model.loss_weigher = adaptation = _adaptation(model, data.train)
    if engine.main:
        for doubt in untaught(model, list(model.heads), len(model.encoders)):
            warnings.warn(doubt, stacklevel=2)
    with _owned(run) if engine.main else nullcontext():
        if engine.main:
            _claim(run, model, data, overwrite)
        engine.wait()
        if numbers == "convolutions":
            quicken_convolutions(model)
        return _train(recipe, data, run, model, engine, adaptation, print_progress)


def _train(
    recipe: Recipe,
    data: Data,
    run: Path,
    model: Model,
    engine: Engine,
    adaptation: Adaptation,
    print_progress: bool,
) -> Model:
    """The stages one after the other, in a folder that is this run's alone."""
    config = recipe.train
    model.to(engine.device)
    if engine.main:
        for line in (*replaced(recipe, data.fields), *_chosen(model)):
            _log.info("%s", line)
        _log.info(
            "checkpoints: the newest %d are kept, of %s MB at most, and the newest however large it is "
            "(train.keep, train.keep_megabytes)",
            config.keep,
            f"{config.keep_megabytes:,g}",
        )
    if config.compile:
        compile_networks(model)
    if config.gradient_checkpointing:
        checkpoint_blocks(model)

    begin = time.monotonic()
    share = pretraining.pretrain(model, data.train, run, engine, print_progress=print_progress)
    rows, held_rows = with_frozen(model, data.train, run, engine), data.validation
    if len(held_rows):
        held_rows = with_frozen(model, held_rows, run / "held_out", engine)
    late = max(0.0, time.monotonic() - begin - 60 * (config.minutes or 0.0) * (1 - share))

    inputs = {name: name in model.encoders for name in model.modalities}
    outputs = {name: name in model.heads for name in model.modalities}

    def draw(present: Mapping[str, Tensor], keys: Tensor) -> Task:
        return tasks.draw({name: present[name] for name in inputs}, inputs, outputs, recipe.tasks, keys)

    def judge() -> float:
        if not engine.main:
            return 0.0
        with torch.compiler.set_stance("force_eager"):
            return _validation_losses(model, held_out)["loss"]

    held_out = StepLoader(held_rows, draw, batch_size=config.batch_size, seed=config.seed, device=engine.device)
    best = BestWeights(run / "best.safetensors")

    def validate(step: int, seconds: float) -> dict[str, float]:
        until = time.monotonic() + seconds
        if not engine.main or not len(data.validation):
            return {}
        with torch.compiler.set_stance("force_eager"):  # to compile for a few samples would take longer than they do
            losses = _validation_losses(model, held_out)
            sample_grid(model, held_rows, run / "samples" / f"step-{step:08d}", until=until)
            model.release()
            if config.keep_best:
                best.offer(step, losses, checkpoints.trained_parameters(model) | checkpoints.buffers(model))
            return losses

    document, now = checkpoints.config_of(model), time.process_time if config.clock == "processor" else time.monotonic

    def finish(averages: Average, seconds: float) -> None:
        if config.keep_best:
            keep_best(averages)
        if recipe.pivots is None or recipe.screens is None:
            averages.swap()
            model.eval()
            with engine.whole(), torch.compiler.set_stance("force_eager"):
                if engine.main:
                    losses = HeldOutLosses(model, held_rows, config.seed, config.batch_size, seconds, now)
                    pivots = choose_pivots(losses) if recipe.pivots is None else recipe.pivots
                    screens = choose_screens(losses, pivots) if recipe.screens is None else recipe.screens
                    document["recipe"] |= {"pivots": pivots, "screens": screens}
                    model.release()
            averages.swap()
            model.train()

    def keep_best(averages: Average) -> None:
        averages.swap()
        model.eval()
        with engine.whole():
            losses = _validation_losses(model, held_out) if engine.main and len(data.validation) else {}
        averages.swap()
        model.train()
        loss = engine.broadcast(best.total(losses) if losses else -math.inf)  # the first process alone has validated
        # Buffers, such as learned variances, belong to the weights that they were learned with.
        if (done := best.restore(averages.weights | checkpoints.buffers(model), loss)) and engine.main:
            _log.info("%s", done)

    loader = StepLoader(
        rows,
        draw,
        batch_size=config.batch_size,
        parts=config.accumulate,
        seed=config.seed,
        process=engine.rank,
        processes=engine.world_size,
        device=engine.device,
        sampling=adaptation.sampling,
        tasks_per_row=recipe.tasks.tasks_per_row,
        uniform=engine.uniform,
    )
    averages = train(
        model,
        loader,
        config,
        run,
        engine=engine,
        learning_rate=config.learning_rate,
        minutes=config.minutes * share if config.minutes else None,
        steps=config.steps,
        config_document=document,
        validate=validate,
        judge=judge if len(data.validation) and model.players == ("model",) else None,
        adaptation=adaptation,
        print_progress=print_progress,
        late=late if config.minutes and config.clock == "wall" else 0.0,
        finish=finish if config.keep_best or len(data.validation) else None,
    )
    averages.swap()
    engine.release()
    restore_blocks(model)
    restore_networks(model)
    restore_convolutions(model)
    model.loss_weigher = None
    model.eval()
    model.recipe = model.recipe.model_copy(update=_found(run))
    if engine.main and len(data.validation) and not engine.in_pieces:  # else it is learned when it is asked for
        FamiliarityMeter.learn(model, rows, held_rows).save(run)
    return model


def _chosen(model: Model) -> list[str]:
    """A line on each field: its parts and their sizes."""
    lines = []
    for name, modality in model.modalities.items():
        modules = {family: getattr(model, f"{family}s") for family in Parts.model_fields}
        parts = {family: getattr(model.recipe.fields[name], family) for family in modules if name in modules[family]}
        weights = [p.numel() for family in parts for p in modules[family][name].parameters()]
        lines.append(describe(name, modality.space.shape, parts, sum(weights)))
    return lines


def _adaptation(model: Model, rows: Rows) -> Adaptation:
    """What follows the losses in training, as the recipe asks for it."""
    recipe, fields = model.recipe, list(model.heads)
    sampling, owners = TARGET_SAMPLERS.get(recipe.tasks.sampling), {}
    if recipe.train.adapt_rates:
        moved, families = set(model.parameters_of("model")), ("encoders.", "projections.", "heads.")
        names = [name for name, parameter in model.named_parameters() if parameter in moved]
        owners = {name: name.split(".")[1] for name in names if name.startswith(families)}
    return Adaptation(
        {name: recipe.fields[name].weight for name in fields},
        balancer=build_part("balancer", recipe.train.balance, "train.balance", fields),
        sampling=sampling({name: float(rows.present[name].mean()) for name in fields}) if sampling else None,
        rates=Rates(fields) if recipe.train.adapt_rates else None,
        owners=owners,
        signed=[f"{name}.{term}" for name, head in model.heads.items() for term in head.signed],
    )


def _claim(run: Path, model: Model, data: Data, overwrite: bool) -> None:
    """Makes the run folder, which this process has to itself, this run's, or makes sure that it is."""
    file = run / "config.json"
    config = {**checkpoints.config_of(model), "data": data.train.fingerprint}
    found = _config_of_run(file) if file.exists() else None
    there = found and migrate_config(found)
    if there and overwrite:
        for path in run.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    elif there:
        here = json.loads(json.dumps(config))
        if found and found["format"] in OLDER:  # what a recipe leaves out is on both sides what it was then
            here = migrate_config({**here, "format": found["format"]})
        try:  # an option that the run's version did not have yet has its default
            recipe = load_recipe(there["recipe"])
            if there["recipe"] != here["recipe"] and there["fields"] == here["fields"]:
                with torch.random.fork_rng(devices=[]):  # an earlier version did not write out all sizes
                    recipe = Model(recipe, data.fields).recipe
            there["recipe"] = recipe.model_dump(mode="json")
        except ConfigError as error:
            raise CheckpointError(
                f"{file}: this version cannot read its recipe ({error}); choose another folder"
            ) from None
        for each in (there, here):
            for name in ("source", "group"):  # rows are known by their content; they may have moved
                each["recipe"]["data"].pop(name, None)
            (each["recipe"]["data"].get("shards") or {}).pop("cache_megabytes", None)  # which changes no result
            each["recipe"]["train"].pop("gradient_checkpointing")  # nor does this
        for key, found in _found(run).items():
            if there["recipe"][key] is None and here["recipe"][key] == found:
                there["recipe"][key] = found
        there["recipe"]["train"]["ema_length"] = here["recipe"]["train"]["ema_length"]  # it is chosen at the end
        budgets = [{key: each["recipe"]["train"].pop(key) for key in ("minutes", "steps")} for each in (there, here)]
        if there != here:
            differs = _first_difference(there, here)
            raise CheckpointError(f"{run}: holds another run ({differs}); choose another folder, or overwrite it")
        if budgets[0] != budgets[1]:  # a run may go on for longer
            write_file(file, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        return
    write_file(file, json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def _found(run: Path) -> dict[str, Any]:
    """The pivots and screens of the newest checkpoint, which are chosen at the end."""
    saved = checkpoints.newest(run)
    recipe = saved.document("config")["recipe"] if saved else {}
    return {key: recipe.get(key) for key in ("pivots", "screens")}


@contextmanager
def _owned(run: Path) -> Iterator[None]:
    """Keeps other processes out of a run folder, made if need be; nothing is written to a folder of another kind.

    Raises:
        CheckpointError: Another process is in it, or it holds something else.
    """
    if (run / "config.json").exists():
        _config_of_run(run / "config.json")
    elif run.exists() and any(path.name != _LOCK for path in run.iterdir()):
        raise CheckpointError(f"{run}: is not empty and holds no run; choose another folder")
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / _LOCK, timeout=0):
            yield
    except Timeout:
        raise CheckpointError(
            f"{run}: another process is training this run; wait for it, or choose another folder"
        ) from None


def _config_of_run(file: Path) -> dict[str, Any]:
    """What a run says of itself. Many other things have a ``config.json``, and are not to be written into or removed.

    Raises:
        CheckpointError: It is another thing's.
    """
    try:
        there = read_json(file)
        if {"format", "recipe", "fields", "data"} <= there.keys() and "data" in there["recipe"]:
            return dict(there)
    except (ValueError, AttributeError, TypeError):
        pass
    raise CheckpointError(f"{file}: is not that of a run; choose another folder")


def _first_difference(there: Any, here: Any, path: str = "") -> str:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*there, *here]:
            if there.get(key) != here.get(key):
                return _first_difference(there.get(key), here.get(key), f"{path}.{key}" if path else key)
    return f"{path} is {quote(there)} there and {quote(here)} here"


@torch.no_grad()
def _validation_losses(model: Model, loader: StepLoader, steps: int = 4) -> dict[str, float]:
    """Means of the terms over the first validation rows, with the same tasks and noise every time.

    Args:
        model: In evaluation mode.
        loader: Of held-out rows.
        steps: Of the loader.
    """
    sums: dict[str, list[float]] = {}
    for step in range(steps):
        for micro_batch in loader.micro_batches(step):
            loss, terms = model(micro_batch, "model")
            for name, value in {"loss": loss, **terms}.items():
                sums.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in sums.items()}
