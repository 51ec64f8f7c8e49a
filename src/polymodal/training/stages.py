"""A run: its codecs and vocoders first, then the model on the codecs' latents."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from polymodal import checkpoint as checkpoints
from polymodal.config import Recipe, TrainConfig, build_part, load_recipe
from polymodal.data import Data, Rows
from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import write_file
from polymodal.generation import sample_grid
from polymodal.migration import migrate_config
from polymodal.model import LATENT, Model
from polymodal.nn.transformer import Transformer
from polymodal.resolution import resolve
from polymodal.training import pretraining, tasks
from polymodal.training.adaptation import Adaptation
from polymodal.training.loop import train
from polymodal.training.precision import precision
from polymodal.training.rates import Rates
from polymodal.training.step_loader import StepLoader
from polymodal.training.target_sampling import TARGET_SAMPLERS, TargetSampler
from polymodal.types import Task


def fit(recipe: Recipe, data: Data, run: str | Path, *, overwrite: bool = False) -> Model:
    """Trains a recipe on data, in a folder of its own; goes on where an earlier call was stopped.

    Args:
        recipe: Without fields, it takes those of the data.
        data: Rows.
        run: Folder of the run: recipe, checkpoints, metrics, samples.
        overwrite: Start anew if another run is there.

    Returns:
        The model with averaged weights, ready to generate.

    Raises:
        ConfigError: The recipe does not fit the data.
        CheckpointError: The folder holds a run of another recipe or of other data.
    """
    run, recipe = Path(run), resolve(recipe, data.fields, data.train.names)
    config = recipe.train
    if not len(data.train):
        raise ConfigError("data: there are no training rows")
    kind = precision(config.precision)
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != kind:
        AcceleratorState._reset_state()  # else a run of another precision earlier in this process is an error
    accelerator = Accelerator(
        cpu="LOCAL_RANK" in os.environ and not torch.cuda.is_available(),  # else it takes torchrun's for lone ones
        mixed_precision=kind,
        gradient_accumulation_steps=1,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # rows may lack any field
    )
    shares = accelerator.num_processes * config.accumulate
    if recipe.alignment and accelerator.num_processes > 1 and config.batch_size % shares:
        raise ConfigError(
            f"train.batch_size: {config.batch_size} rows cannot be divided evenly into {shares} (processes x "
            "train.accumulate), as an alignment, which sees those of all processes, needs it; take a multiple"
        )
    torch.manual_seed(config.seed)
    model = Model(recipe, data.fields)
    if config.vocoder_from is not None:
        pretraining.take_vocoders(model, config.vocoder_from)
    model.loss_weigher = adaptation = _adaptation(model, data.train)
    if accelerator.is_main_process:
        _claim(run, model, data, overwrite)
    accelerator.wait_for_everyone()
    model.to(accelerator.device)
    if config.compile:
        for module in model.modules():
            if isinstance(module, Transformer):
                module.compile(dynamic=True)

    learning = model.vocoders if config.vocoder_from is None else {}
    share = 1 - bool(model.codecs) * config.codec_share - bool(learning) * config.vocoder_share
    if share <= 0:
        raise ConfigError("train: codec_share and vocoder_share leave the model nothing; their sum must be below 1")
    rows = data.train
    for name, vocoder in learning.items():
        pretraining.train_vocoder(name, vocoder, rows, config, run, len(learning), accelerator)
    for name, codec in model.codecs.items():
        pretraining.train_codec(name, codec, rows, config, run, len(model.codecs), accelerator)
    for name, codec in model.codecs.items():
        rows = rows.with_column(name + LATENT, pretraining.latents(name, codec, rows, run, accelerator))

    inputs = {name: name in model.encoders for name in model.modalities}
    outputs = {name: name in model.heads for name in model.modalities}

    def draw(present: Mapping[str, Tensor], keys: Tensor) -> Task:
        return tasks.draw({name: present[name] for name in inputs}, inputs, outputs, recipe.tasks, keys)

    def validate(step: int) -> dict[str, float]:
        if not accelerator.is_main_process or not len(data.validation):
            return {}
        sample_grid(model, data.validation, run / "samples" / f"step-{step:08d}")
        return _validation_losses(model, _loader(data.validation, draw, config, accelerator, alone=True))

    averages = train(
        model,
        _loader(
            rows, draw, config, accelerator, sampling=adaptation.sampling, tasks_per_row=recipe.tasks.tasks_per_row
        ),
        config,
        run,
        accelerator=accelerator,
        learning_rate=config.learning_rate,
        minutes=config.minutes * share if config.minutes else None,
        steps=config.steps,
        config_document=lambda: checkpoints.config_of(model),
        validate=validate,
        adaptation=adaptation,
    )
    averages.swap()
    model.loss_weigher = None
    return model.eval()


def _adaptation(model: Model, rows: Rows) -> Adaptation:
    """What follows the losses in training, as the recipe asks for it."""
    recipe, fields = model.recipe, list(model.heads)
    sampling, owners = TARGET_SAMPLERS.get(recipe.tasks.sampling), {}
    if recipe.train.adapt_rates:
        owners = {p: name for name, encoder in model.encoders.items() for p in encoder.parameters()}
        owners |= {p: name for name, head in model.heads.items() for p in head.parameters_of("model")}
    return Adaptation(
        {name: recipe.fields[name].weight for name in fields},
        balancer=build_part("balancer", recipe.train.balance, "train.balance", fields),
        sampling=sampling({name: float(rows.present[name].mean()) for name in fields}) if sampling else None,
        rates=Rates(fields) if recipe.train.adapt_rates else None,
        owners=owners,
    )


def _claim(run: Path, model: Model, data: Data, overwrite: bool) -> None:
    """Makes the run folder this run's, or makes sure that it is."""
    file = run / "config.json"
    config = {**checkpoints.config_of(model), "data": data.train.fingerprint}
    there = _config_of_run(file) if file.exists() else None
    if there and overwrite:
        shutil.rmtree(run)
    elif there:
        here = json.loads(json.dumps(config))
        try:  # an option that the run's version did not have yet has its default
            there["recipe"] = load_recipe(there["recipe"]).model_dump(mode="json")
        except ConfigError as error:
            raise CheckpointError(
                f"{file}: this version cannot read its recipe ({error}); choose another folder"
            ) from None
        for each in (there, here):
            each["recipe"]["data"].pop("source", None)  # rows are known by their content; they may have moved
        if there != here:
            differs = _first_difference(there, here)
            raise CheckpointError(f"{run}: holds another run ({differs}); choose another folder, or overwrite it")
        return
    if run.exists() and any(run.iterdir()):
        raise CheckpointError(f"{run}: is not empty and holds no run; choose another folder")
    write_file(file, json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def _config_of_run(file: Path) -> dict[str, Any]:
    """What a run says of itself. Many other things have a ``config.json``, and are not to be written into or removed.

    Raises:
        CheckpointError: It is another thing's.
    """
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
        if {"format", "recipe", "fields", "data"} <= there.keys() and "data" in there["recipe"]:
            return migrate_config(there)
    except (ValueError, AttributeError, TypeError):
        pass
    raise CheckpointError(f"{file}: is not that of a run; choose another folder")


def _first_difference(there: Any, here: Any, path: str = "") -> str:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*there, *here]:
            if there.get(key) != here.get(key):
                return _first_difference(there.get(key), here.get(key), f"{path}.{key}" if path else key)
    return f"{path} is {_short(there)} there and {_short(here)} here"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def _loader(
    rows: Rows,
    draw: Any,
    config: TrainConfig,
    accelerator: Accelerator,
    *,
    alone: bool = False,
    sampling: TargetSampler | None = None,
    tasks_per_row: int = 1,
) -> StepLoader:
    return StepLoader(
        rows,
        draw,
        batch_size=config.batch_size,
        parts=1 if alone else config.accumulate,
        seed=config.seed,
        process=0 if alone else accelerator.process_index,
        processes=1 if alone else accelerator.num_processes,
        device=accelerator.device,
        sampling=sampling,
        tasks_per_row=tasks_per_row,
    )


@torch.no_grad()
def _validation_losses(model: Model, loader: StepLoader, steps: int = 4) -> dict[str, float]:
    """Means of the terms over the first validation rows, with the same tasks and noise every time."""
    sums: dict[str, list[float]] = {}
    for step in range(steps):
        for micro_batch in loader.micro_batches(step):
            for name, value in model(micro_batch, "model")[1].items():
                sums.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in sums.items()}
