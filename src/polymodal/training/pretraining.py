"""What is trained before the model: its codecs, whose latents it then models, and its vocoders."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polymodal import checkpoint as checkpoints
from polymodal.checkpoint import load_model
from polymodal.codecs import Codec
from polymodal.config import TrainConfig
from polymodal.data import Column, Rows
from polymodal.errors import ConfigError
from polymodal.files import atomic_file, file_name, write_file
from polymodal.modalities import Audio
from polymodal.model import MicroBatch, Model
from polymodal.training.engines import Engine
from polymodal.training.frozen import CHUNK
from polymodal.training.loop import train
from polymodal.training.step_loader import StepLoader
from polymodal.types import Task
from polymodal.vocoders import Vocoder

_log = logging.getLogger(__name__)

SAMPLES = ".samples"
"""Beside ``speech``, its sound itself is in a batch as ``speech.samples``, frame by frame."""
CALIBRATION_ROWS = 1024
"""Distinct values that a codec starts from and is calibrated on, unless they are so large that fewer do."""
_FEWEST_ROWS, _MOST_NUMBERS = 64, 2**26
"""Of these: so many values at least, and else so many numbers at most, which are a quarter of a GiB."""


class PartTraining(nn.Module):
    """A codec or vocoder as the loop sees it.

    Args:
        part: What learns.
        columns: What its loss is told, in this order.
    """

    def __init__(self, part: Codec | Vocoder, columns: Sequence[str]):
        super().__init__()
        self.part: Any = part  # each family's loss has its own arguments
        self.columns, self.players = columns, part.players

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        return self.part.parameters_of(player)

    def lr_scale(self, player: str, progress: float) -> float:
        return 1.0

    def decisions(self) -> list[str]:
        return []

    def forward(self, micro_batch: MicroBatch, player: str) -> tuple[Tensor, dict[str, Tensor]]:
        losses = self.part.loss(*(micro_batch.batch[name] for name in self.columns), player, micro_batch.keys)
        means = {name: term.sum() / micro_batch.rows for name, term in losses.items()}
        return sum(means.values(), torch.zeros(())), {name: mean.detach() for name, mean in means.items()}


def pretrain(model: Model, rows: Rows, run: Path, engine: Engine, *, print_progress: bool = True) -> float:
    """The vocoders and codecs of a model learn from training rows, those apart that do not learn or that a run gave.

    Args:
        model: On the engine's device.
        rows: Training rows.
        run: Folder of the run; ``codecs/NAME`` and ``vocoders/NAME`` in it hold what a run's folder holds.
        engine: Runs the steps.
        print_progress: Whether to tell how far it is.

    Returns:
        The share of the minutes that is left for the model, with the parts of those that do not learn.

    Raises:
        ConfigError: No share is left, or no row has the field of a codec or vocoder.
    """
    config = model.recipe.train
    codecs = {name: codec for name, codec in model.codecs.items() if codec.trains}
    vocoders = {name: vocoder for name, vocoder in model.vocoders.items() if vocoder.trains}
    if config.vocoder_from is not None:
        vocoders = {}
    taken = _taken(config.codec_share, codecs, model.codecs) + _taken(config.vocoder_share, vocoders, model.vocoders)
    share = 1 - taken
    if share <= 0:
        raise ConfigError("train: codec_share and vocoder_share leave the model nothing; their sum must be below 1")
    for name, vocoder in vocoders.items():
        train_vocoder(name, vocoder, rows, config, run, engine, many=len(model.vocoders), print_progress=print_progress)
    for name, codec in codecs.items():
        train_codec(name, codec, rows, config, run, engine, many=len(model.codecs), print_progress=print_progress)
    return share


def _taken(share: float, learning: Collection[str], everyone: Collection[str]) -> float:
    """What those that learn take of a share that is divided evenly among all."""
    return share * len(learning) / max(1, len(everyone))


def train_codec(
    name: str,
    codec: Codec,
    rows: Rows,
    config: TrainConfig,
    run: Path,
    engine: Engine,
    *,
    many: int = 1,
    print_progress: bool = True,
) -> None:
    """A codec learns from the distinct values of its field; it is one of ``many`` that share the minutes."""
    own, stage = _distinct(name, rows, "codec"), run / "codecs" / file_name(name)
    space = codec.space
    most = min(len(own), CALIBRATION_ROWS, max(_FEWEST_ROWS, _MOST_NUMBERS // (space.channels * prod(space.grid))))
    some = np.linspace(0, len(own) - 1, most).astype(np.int64)
    pieces = np.array_split(some, -(-len(some) // CHUNK))
    fields = [own.decode({name: own.batch(piece)[name].to(engine.device)})[name] for piece in pieces]
    codec.initialise(fields)
    _train("codec", PartTraining(codec, [name]), own, config, stage, engine, many, print_progress)
    if (found := codec.calibrate(fields)) and engine.main:
        write_file(stage / "calibration.json", json.dumps(found, indent=2) + "\n")
        _log.info("codec of %s: %s", name, ", ".join(f"{key} {value:.6g}" for key, value in found.items()))


def train_vocoder(
    name: str,
    vocoder: Vocoder,
    rows: Rows,
    config: TrainConfig,
    run: Path,
    engine: Engine,
    *,
    many: int = 1,
    print_progress: bool = True,
) -> None:
    """A vocoder learns from the distinct clips of its field; it is one of ``many`` that share the minutes."""
    own, stage = _distinct(name, rows, "vocoder"), run / "vocoders" / file_name(name)
    own = own.with_column(name + SAMPLES, sound(name, own, vocoder.audio, stage / "samples.npy", engine))
    trainee = PartTraining(vocoder, [name, name + SAMPLES])
    _train("vocoder", trainee, own, config, stage, engine, many, print_progress)


def take_vocoders(model: Model, run: str) -> None:
    """Every vocoder of a model becomes that of another run: of the field of its name, else of the first that has one.

    Args:
        model: Not yet trained.
        run: Folder of the other run.

    Raises:
        ConfigError: One of both has no vocoder, or theirs hears other spectrograms or is made otherwise.
        CheckpointError: The folder holds no run.
    """
    where, other = "train.vocoder_from", load_model(run)
    replaced = {name: vocoder for name, vocoder in model.vocoders.items() if vocoder.trains}
    if not replaced:
        raise ConfigError(
            f"{where}: no field has a vocoder to be replaced; set defaults.audio.vocoder.kind=istft as well"
        )
    if not other.vocoders:
        raise ConfigError(
            f"{where}: {run} has no vocoder; it has one if trained with defaults.audio.vocoder.kind=istft"
        )
    for name, vocoder in replaced.items():
        theirs = name if name in other.vocoders else next(iter(other.vocoders))
        heard, known = ({**m.modalities[n].state(), "max_seconds": 0} for m, n in ((model, name), (other, theirs)))
        if differs := [key for key in heard if heard[key] != known[key]]:
            here, there = (", ".join(f"{key}={state[key]}" for key in differs) for state in (heard, known))
            raise ConfigError(f"{where}: the vocoder of {run} is for {there}; fields.{name} has {here}")
        weights = other.vocoders[theirs].state_dict()
        if _shapes(weights) != _shapes(vocoder.state_dict()):
            made = other.recipe.parts(theirs).vocoder
            raise ConfigError(f"{where}: the vocoder of {run} is {made}; give fields.{name}.vocoder the same")
        vocoder.load_state_dict(weights)


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}


def _distinct(name: str, rows: Rows, family: str) -> Rows:
    """The distinct values of a field, and nothing else."""
    own = rows.unique(name).only(name)
    if not len(own):
        raise ConfigError(f"fields.{name}: no training row has it; its {family} cannot be trained")
    return own


def _train(
    family: str,
    trainee: PartTraining,
    rows: Rows,
    config: TrainConfig,
    stage: Path,
    engine: Engine,
    many: int,
    print_progress: bool,
) -> None:
    """Trains until the minutes, or else the steps, are spent; leaves the averaged weights, frozen.

    What is finished stays as it is if the run goes on for longer, as the model has learned from its codes.
    """
    share, steps, batch_size, learning_rate = (
        getattr(config, f"{family}_{name}") for name in ("share", "steps", "batch_size", "learning_rate")
    )
    loader = StepLoader(
        rows,
        lambda present, keys: Task({}, present),
        batch_size=max(min(batch_size, len(rows)), engine.world_size),
        seed=config.seed,
        process=engine.rank,
        processes=engine.world_size,
        device=engine.device,
    )
    minutes = config.minutes * share / many if config.minutes else None
    if (saved := checkpoints.newest(stage)) and (state := saved.document("trainer/state"))["done"]:
        minutes, steps = None, state["step"]
    trainee.part.requires_grad_(True).train()
    averages = train(
        trainee,
        loader,
        config.model_copy(update={"keep": 1}),  # the model's checkpoints hold its weights as well
        stage,
        engine=engine,
        learning_rate=learning_rate,
        minutes=minutes,
        steps=None if minutes else steps,
        print_progress=print_progress,
    )
    averages.swap()
    trainee.part.requires_grad_(False).eval()


def sound(name: str, rows: Rows, audio: Audio, file: Path, engine: Engine) -> Column:
    """The samples of every clip (hop_length, frames), memory-mapped; as long as its spectrogram, with zeros at the end.

    Args:
        name: Name of the field.
        rows: Each with a clip.
        audio: Reads the clips.
        file: To be written, unless it is there.
        engine: Of its processes the first one writes.
    """
    offsets = np.concatenate([[0], np.cumsum(rows.columns[name].lengths)])
    if engine.main and not file.exists():
        shape = (int(offsets[-1]), audio.hop_length)
        with atomic_file(file) as partial, partial.open("wb") as out:
            # Not through a map: where the disk is full, to write to one would end the process.
            np.lib.format.write_array_header_1_0(out, {"descr": "<f2", "fortran_order": False, "shape": shape})
            for raw, frames in zip(rows.raws(name), np.diff(offsets).tolist(), strict=True):
                samples = audio.samples(raw)
                padded = np.zeros(frames * audio.hop_length, "<f2")
                padded[: len(samples)] = samples
                out.write(padded.tobytes())
    engine.wait()
    return Column(np.load(file, mmap_mode="r"), offsets, np.arange(len(rows)), varies=1)
