"""The one training loop: for models, codecs and judges, for one process or many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from polymodal import checkpoint as checkpoints
from polymodal.config import TrainConfig
from polymodal.nn.random import make_keys
from polymodal.training.adaptation import Adaptation
from polymodal.training.ema import Average
from polymodal.training.log import Log
from polymodal.training.muon import Muon, hidden_matrices
from polymodal.training.step_loader import StepLoader

MOMENTUM = 0.9
"""Of the gradient (Adam's first beta), but for parameters that say otherwise, as those of adversaries do."""


class Trainee(Protocol):
    """What the loop trains: a module whose ``forward(micro_batch, player)`` gives (loss, terms)."""

    @property
    def players(self) -> tuple[str, ...]: ...

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]: ...

    def lr_scale(self, player: str, progress: float) -> float: ...

    def decisions(self) -> list[str]: ...


def train(
    trainee: Any,
    loader: StepLoader,
    config: TrainConfig,
    stage: Path,
    *,
    accelerator: Accelerator,
    learning_rate: float,
    minutes: float | None = None,
    steps: int | None = None,
    config_document: Callable[[], Any] = dict,
    validate: Callable[[int], dict[str, float]] | None = None,
    adaptation: Adaptation | None = None,
) -> Average:
    """Trains until the budget is spent, from the newest checkpoint of ``stage`` if there is one.

    With ``steps``, the weights at the end are the same bit for bit on a CPU, however often the run was killed: rows,
    tasks and random numbers are functions of the seed and the step, and everything else is in the checkpoint.

    Args:
        trainee: A ``Trainee`` module.
        loader: Its rows.
        config: Optimisation, checkpoints, logs.
        stage: Folder of checkpoints and metrics.
        accelerator: Device, processes, precision.
        learning_rate: Peak.
        minutes: Time budget, or
        steps: number of steps.
        config_document: Makes the checkpoint's ``config.json``.
        validate: Called now and then with the step and the averaged weights in place; its scores are logged.
        adaptation: What follows the losses; nothing if not given.

    Returns:
        The averaged weights.
    """
    adaptation = adaptation or Adaptation()
    averages = Average(checkpoints.trained_parameters(trainee), config.ema_decay)
    optimizers = {
        player: make_optimizer(trainee, player, learning_rate, config, adaptation.owners) for player in trainee.players
    }
    step, seconds = 0, 0.0
    if saved := checkpoints.newest(stage):
        step, seconds = _restore(saved, trainee, averages, optimizers, adaptation)
    wrapped = accelerator.prepare_model(trainee)
    optimizers = {player: accelerator.prepare_optimizer(optimizer) for player, optimizer in optimizers.items()}
    clock = Clock(accelerator, minutes, steps, step, seconds, config.clock)
    last_save, validations = seconds, _validations(clock, config)

    def save() -> None:
        if accelerator.is_main_process:
            _save(stage, step, clock, trainee, averages, optimizers, adaptation, config, config_document())

    trainee.train()
    with Log(stage, step, clock, enabled=accelerator.is_main_process, share=1 / accelerator.num_processes) as log:
        for micro_batches in loader.stream(step):
            if clock.done:
                break
            torch.manual_seed(int(make_keys(config.seed + 2, 1, start=step)))  # dropout, where a part has any
            rate = learning_rate * schedule(clock.progress, config.warmup, config.final_rate, config.decay)
            for player, optimizer in optimizers.items():
                lr_scale = trainee.lr_scale(player, clock.progress)
                for group in optimizer.param_groups:
                    group["lr"] = rate * lr_scale * adaptation.rate(group)
                for number, micro_batch in enumerate(micro_batches, 1):
                    waiting = accelerator.no_sync(wrapped) if number < len(micro_batches) else nullcontext()
                    with waiting:
                        loss, terms = wrapped(micro_batch, player)
                        accelerator.backward(loss * accelerator.num_processes)  # whose gradients are averaged
                    log.add(player, loss, terms, first=number == 1)
                    adaptation.observe(player, terms, micro_batch.counts)
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                log.norm(player, accelerator.clip_grad_norm_(parameters, config.clip))
                optimizer.step()
                for each in optimizers.values():
                    each.zero_grad(set_to_none=True)
            averages.update(step)
            step += 1
            clock.tick(step)
            adaptation.step(step)
            log.decisions(step, trainee.decisions() + adaptation.decisions())
            if step % config.log_every == 0:
                log.write(step, rate, loader.batch_size * config.log_every, adaptation.numbers())
            if validate and (_validations(clock, config) > validations or clock.done):
                validations = _validations(clock, config)
                scores = _validated(validate, step, trainee, averages)
                log.scores(step, scores)
                adaptation.validated(scores)
            due = config.checkpoint_steps and step % config.checkpoint_steps == 0
            if due or (not config.checkpoint_steps and clock.seconds - last_save > 60 * config.checkpoint_every):
                save()
                last_save = clock.seconds
    if not (saved and saved.step == step):
        save()
    accelerator.wait_for_everyone()
    return averages


class Clock:
    """How far a stage is: by steps, or by the first process's time, which all processes follow.

    Args:
        accelerator: Processes.
        minutes: Time budget, or
        steps: number of steps.
        step: Steps taken before.
        seconds: Time spent before.
        kind: As in ``TrainConfig``.
    """

    EVERY = 10
    """Steps between two agreements of many processes on the time."""

    def __init__(
        self,
        accelerator: Accelerator,
        minutes: float | None,
        steps: int | None,
        step: int = 0,
        seconds: float = 0.0,
        kind: str = "wall",
    ):
        self.accelerator, self.steps = accelerator, steps
        self.budget = None if steps else 60 * (minutes or 10.0)
        self.now = time.process_time if kind == "processor" else time.monotonic
        self.begin = self.now() - seconds
        self.progress = 0.0
        self.tick(step, agree=True)

    @property
    def seconds(self) -> float:
        return self.now() - self.begin

    @property
    def done(self) -> bool:
        return self.progress >= 1

    def tick(self, step: int, *, agree: bool = False) -> None:
        """Moves on to ``step``."""
        if self.steps:
            self.progress = step / self.steps
        elif self.accelerator.num_processes == 1:
            self.progress = self.seconds / self.budget  # type: ignore[operator]
        elif agree or step % self.EVERY == 0:
            share = torch.tensor([self.seconds / self.budget], device=self.accelerator.device)  # type: ignore[operator]
            torch.distributed.broadcast(share, 0)
            self.progress = float(share)


def _validations(clock: Clock, config: TrainConfig) -> int:
    """How many there should have been: a function of the progress alone, so that a resumed run has no other."""
    return int(clock.progress / config.validate_every + 1e-9)


def schedule(progress: float, warmup: float, final: float = 0.0, decay: float | None = None) -> float:
    """Factor of the learning rate: a climb over ``warmup``, then to ``final`` by half a cosine, or a line at the end.

    Source: Loshchilov and Hutter, "SGDR", 2017; for the line over the last ``decay`` of the training: Hägele et al.,
    "Scaling laws and compute-optimal training beyond fixed training durations", 2024.
    """
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    done = min(progress, 1.0)
    if decay is None:
        left = 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
    else:
        left = min(1.0, (1 - done) / decay)
    return final + (1 - final) * left


def make_optimizer(
    trainee: Any,
    player: str,
    learning_rate: float,
    config: TrainConfig,
    owners: Mapping[nn.Parameter, str] = {},
) -> torch.optim.AdamW:
    """The optimiser of a player; only matrices decay. A part may give a parameter a ``momentum`` of its own.

    Parameters with an owner are in groups of their own, which say so.
    """
    matrices = hidden_matrices(trainee) if config.optimizer == "muon" else set()
    kinds: dict[tuple[bool, bool, float, str], list[nn.Parameter]] = {}
    for p in trainee.parameters_of(player):
        if p.requires_grad:
            momentum = getattr(p, "momentum", MOMENTUM)
            kinds.setdefault((p in matrices and momentum > 0, p.ndim < 2, momentum, owners.get(p, "")), []).append(p)
    groups = [
        {
            "params": kinds[orthogonal, vector, momentum, owner],
            "orthogonal": orthogonal,
            "weight_decay": 0 if vector else config.weight_decay,
            "betas": (momentum, 0.98),
            "owner": owner,
        }
        for orthogonal, vector, momentum, owner in sorted(kinds)
    ]
    if config.optimizer == "muon":
        return Muon(groups, learning_rate)
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def _validated(
    validate: Callable[[int], dict[str, float]], step: int, trainee: nn.Module, averages: Average
) -> dict[str, float]:
    """Scores of the averaged weights."""
    averages.swap()
    trainee.eval()
    try:
        return validate(step)
    finally:
        averages.swap()
        trainee.train()


def _save(
    stage: Path,
    step: int,
    clock: Clock,
    trainee: nn.Module,
    averages: Average,
    optimizers: dict[str, Any],
    adaptation: Adaptation,
    config: TrainConfig,
    document: Any,
) -> None:
    optimizer_tensors: dict[str, Tensor] = {}
    for player, optimizer in optimizers.items():
        optimizer_tensors |= checkpoints.flatten_optimizer(optimizer.state_dict(), player)
    tensors = {"model": trainee.state_dict(), "ema": averages.weights, "trainer/optimizer": optimizer_tensors}
    state = {"step": step, "seconds": clock.seconds, "done": clock.done, "adaptation": adaptation.state}
    checkpoints.save(stage, step, tensors, {"config": document, "trainer/state": state}, config.keep)


def _restore(
    saved: checkpoints.Checkpoint,
    trainee: nn.Module,
    averages: Average,
    optimizers: dict[str, Any],
    adaptation: Adaptation,
) -> tuple[int, float]:
    trainee.load_state_dict(saved.tensors("model"))
    for name, value in saved.tensors("ema").items():
        averages.weights[name].copy_(value)
    tensors = saved.tensors("trainer/optimizer")
    for player, optimizer in optimizers.items():
        checkpoints.restore_optimizer(optimizer, tensors, player)
    state = saved.document("trainer/state")
    adaptation.restore(state.get("adaptation", {}))
    return state["step"], state["seconds"]
