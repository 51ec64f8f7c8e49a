"""What is trained before the model: its codecs, whose latents it then models, and its vocoders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from polymodal.checkpoint import load_model
from polymodal.codecs import Codec
from polymodal.config import TrainConfig
from polymodal.data import Column, Rows
from polymodal.errors import ConfigError
from polymodal.files import atomic_file, write_file
from polymodal.modalities import Audio
from polymodal.model import MicroBatch, Model
from polymodal.training.loop import train
from polymodal.training.step_loader import StepLoader
from polymodal.types import Batch, Task
from polymodal.vocoders import Vocoder

SAMPLES = ".samples"
"""Beside ``speech``, its sound itself is in a batch as ``speech.samples``, frame by frame."""
ENCODE_ROWS = 128
"""Rows of one batch when latents are computed."""
CALIBRATION_ROWS = 1024
"""Distinct values that a codec starts from and is calibrated on."""


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


def train_codec(
    name: str, codec: Codec, rows: Rows, config: TrainConfig, run: Path, codecs: int, accelerator: Accelerator
) -> None:
    """A codec learns from the distinct values of its field, in the folder ``codecs/NAME`` of a run.

    Args:
        name: Of the field.
        codec: To be trained.
        rows: Training rows.
        config: Of the training.
        run: Folder of the run.
        codecs: How many share the minutes.
        accelerator: Device and processes.

    Raises:
        ConfigError: No row has the field.
    """
    own, stage = _distinct(name, rows, "codec"), run / "codecs" / name
    some = np.linspace(0, len(own) - 1, min(len(own), CALIBRATION_ROWS)).astype(np.int64)
    pieces = np.array_split(some, -(-len(some) // ENCODE_ROWS))
    fields = [own.decode(_moved(own.batch(piece), accelerator.device))[name] for piece in pieces]
    codec.initialise(fields)
    _train(
        PartTraining(codec, [name]),
        own,
        config,
        stage,
        accelerator,
        batch_size=config.codec_batch_size,
        learning_rate=config.codec_learning_rate,
        minutes=config.minutes * config.codec_share / codecs if config.minutes else None,
        steps=config.codec_steps,
    )
    if (found := codec.calibrate(fields)) and accelerator.is_main_process:
        write_file(stage / "calibration.json", json.dumps(found, indent=2) + "\n")
        print(f"codec of {name}: " + ", ".join(f"{key} {value:.6g}" for key, value in found.items()), flush=True)


def train_vocoder(
    name: str, vocoder: Vocoder, rows: Rows, config: TrainConfig, run: Path, vocoders: int, accelerator: Accelerator
) -> None:
    """A vocoder learns from the distinct clips of its field, in the folder ``vocoders/NAME`` of a run.

    Args:
        name: Of the field.
        vocoder: To be trained.
        rows: Training rows.
        config: Of the training.
        run: Folder of the run.
        vocoders: How many share the minutes.
        accelerator: Device and processes.

    Raises:
        ConfigError: No row has the field.
    """
    own = _distinct(name, rows, "vocoder")
    stage = run / "vocoders" / name
    own = own.with_column(name + SAMPLES, sound(name, own, stage / "samples.npy", accelerator))
    _train(
        PartTraining(vocoder, [name, name + SAMPLES]),
        own,
        config,
        stage,
        accelerator,
        batch_size=config.vocoder_batch_size,
        learning_rate=config.vocoder_learning_rate,
        minutes=config.minutes * config.vocoder_share / vocoders if config.minutes else None,
        steps=config.vocoder_steps,
    )


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
    if not model.vocoders:
        raise ConfigError(
            f"{where}: no field has a vocoder to be replaced; set defaults.audio.vocoder.kind=istft as well"
        )
    if not other.vocoders:
        raise ConfigError(
            f"{where}: {run} has no vocoder; it has one if trained with defaults.audio.vocoder.kind=istft"
        )
    for name, vocoder in model.vocoders.items():
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
    trainee: PartTraining,
    rows: Rows,
    config: TrainConfig,
    stage: Path,
    accelerator: Accelerator,
    *,
    batch_size: int,
    learning_rate: float,
    minutes: float | None,
    steps: int,
) -> None:
    """Trains until the minutes, or else the steps, are spent; leaves the averaged weights, frozen."""

    def draw(present: Mapping[str, Tensor], keys: Tensor) -> Task:
        return Task({}, present)

    loader = StepLoader(
        rows,
        draw,
        batch_size=batch_size,
        seed=config.seed,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        device=accelerator.device,
    )
    trainee.part.requires_grad_(True).train()
    averages = train(
        trainee,
        loader,
        config,
        stage,
        accelerator=accelerator,
        learning_rate=learning_rate,
        minutes=minutes,
        steps=None if minutes else steps,
    )
    averages.swap()
    trainee.part.requires_grad_(False).eval()


def _moved(batch: Batch, device: torch.device) -> Batch:
    return {name: field.to(device) for name, field in batch.items()}


def sound(name: str, rows: Rows, file: Path, accelerator: Accelerator) -> Column:
    """The samples of every clip (hop_length, frames), memory-mapped; as long as its spectrogram, with zeros at the end.

    Args:
        name: Of the field.
        rows: Each with a clip.
        file: To be written, unless it is there.
        accelerator: Of its processes the first one writes.
    """
    audio, lengths = rows.fields[name], rows.columns[name].lengths
    assert isinstance(audio, Audio)
    hop_length = audio.hop_length
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if accelerator.is_main_process and not file.exists():
        shape = (int(offsets[-1]), hop_length)
        with atomic_file(file) as partial:
            values = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            for raw, start in zip(rows.raws(name), offsets[:-1], strict=True):
                samples = audio.samples(raw)
                values[start:].reshape(-1)[: len(samples)] = samples
            values.flush()
    accelerator.wait_for_everyone()
    return Column(np.load(file, mmap_mode="r"), offsets, np.arange(len(rows)), varies=1)


@torch.no_grad()
def latents(name: str, codec: Codec, rows: Rows, run: Path, accelerator: Accelerator) -> Column:
    """The codec's code of every distinct value of a field, each computed once, memory-mapped in the run folder."""
    source = rows.columns[name]
    folder = run / "latents"
    file, offsets_file = folder / f"{name}.npy", folder / f"{name}.offsets.npy"
    distinct, slots = np.unique(source.slots, return_inverse=True)
    slots = np.where(source.slots >= 0, slots - int(distinct[0] < 0), -1)
    if accelerator.is_main_process:
        own = rows.unique(name).only(name)
        order = np.argsort(own.columns[name].slots)
        parts, lengths = [], []
        for part in np.array_split(order, -(-len(order) // ENCODE_ROWS)):
            code = codec.encode(own.decode(_moved(own.batch(part), accelerator.device))[name])
            value = code.value if code.value.is_floating_point() else code.value.int()  # half the size in the file
            if codec.latent.varies is not None:
                parts.append(value.movedim(1 + codec.latent.varies, 1)[code.mask].cpu().numpy())
                lengths.append(code.lengths.cpu().numpy())
            else:
                parts.append(value.cpu().numpy())
        arrays = {file: np.concatenate(parts)}
        if lengths:
            arrays[offsets_file] = np.append(0, np.cumsum(np.concatenate(lengths)))
        for path, array in arrays.items():
            with atomic_file(path) as partial:
                np.save(partial, array)
    accelerator.wait_for_everyone()
    offsets = np.load(offsets_file) if codec.latent.variable else None
    return Column(np.load(file, mmap_mode="r"), offsets, slots, varies=codec.latent.varies)
