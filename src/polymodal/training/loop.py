"""The training loop of models, codecs and vocoders. An engine runs its steps, on one process or many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from polymodal import checkpoint as checkpoints
from polymodal.config import TrainConfig
from polymodal.nn.random import make_keys
from polymodal.training.adaptation import Adaptation
from polymodal.training.ema import Average
from polymodal.training.engines import Engine
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
    engine: Engine,
    learning_rate: float,
    minutes: float | None = None,
    steps: int | None = None,
    config_document: Mapping[str, Any] = {},
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
        engine: Runs the steps, on one process or many.
        learning_rate: Peak.
        minutes: Time budget, or
        steps: number of steps.
        config_document: The checkpoint's ``config.json``.
        validate: Called now and then with the step and the averaged weights in place; its scores are logged.
        adaptation: What follows the losses; nothing if not given.

    Returns:
        The averaged weights.
    """
    adaptation = adaptation or Adaptation()
    engine.prepare(trainee, lambda player: make_optimizer(trainee, player, learning_rate, config, adaptation.owners))
    averages = Average(checkpoints.trained_parameters(trainee), config.ema_decay)
    step, seconds = 0, 0.0
    if saved := checkpoints.newest(stage):
        with checkpoints.going_on(saved):
            engine.load(saved, averages)
            state = saved.document("trainer/state")
            adaptation.restore(state.get("adaptation", {}))
            step, seconds = int(state["step"]), float(state["seconds"])
    clock = Clock(engine, minutes, steps, step, seconds, config.clock)
    last_save, validations = clock.agreed, _validations(clock, config)

    def save() -> None:
        state = {"step": step, "seconds": clock.seconds, "done": clock.done, "adaptation": adaptation.state}
        engine.save(stage, step, averages, {"config": config_document, "trainer/state": state}, config.keep)

    trainee.train()
    with Log(stage, step, clock, enabled=engine.main, share=1 / engine.world_size) as log:
        for micro_batches in loader.stream(step):
            if clock.done:
                break
            torch.manual_seed(int(make_keys(config.seed + 2, 1, start=step)))  # dropout, where a part has any
            rate = learning_rate * schedule(clock.progress, config.warmup, config.final_rate, config.decay)
            for player in trainee.players:
                lr_scale = trainee.lr_scale(player, clock.progress)
                for group in engine.optimizers[player].param_groups:
                    group["lr"] = rate * lr_scale * adaptation.rate(group)
                for number, micro_batch in enumerate(micro_batches, 1):
                    loss, terms = engine.backward(micro_batch, player, last=number == len(micro_batches))
                    log.add(player, loss, terms, first=number == 1)
                    adaptation.observe(player, terms, micro_batch.counts)
                log.norm(player, engine.step(player, config.clip))
            averages.update(step)
            step += 1
            clock.tick(step)
            adaptation.step(step)
            log.decisions(step, trainee.decisions() + adaptation.decisions())
            if step % config.log_every == 0:
                log.write(step, rate, loader.batch_size * config.log_every, adaptation.numbers())
            if validate and (_validations(clock, config) > validations or clock.done):
                validations = _validations(clock, config)
                scores = _validated(validate, step, trainee, averages, engine)
                log.scores(step, scores)
                adaptation.validated(scores)
            due = config.checkpoint_steps and step % config.checkpoint_steps == 0
            if due or (not config.checkpoint_steps and clock.agreed - last_save > 60 * config.checkpoint_every):
                save()
                last_save = clock.agreed
    if not (saved and saved.step == step):
        save()
    engine.wait()
    return averages


class Clock:
    """How far a stage is: by steps, or by the first process's time, which all processes follow.

    Args:
        engine: Processes.
        minutes: Time budget, or
        steps: number of steps.
        step: Steps taken before.
        seconds: Time spent before.
        kind: As in ``TrainConfig``.

    Attributes:
        agreed: Seconds spent, as of the last agreement of all processes.
        progress: Share of the budget that is spent.
    """

    EVERY = 10
    """Steps between two agreements of many processes on the time."""

    def __init__(
        self,
        engine: Engine,
        minutes: float | None,
        steps: int | None,
        step: int = 0,
        seconds: float = 0.0,
        kind: str = "wall",
    ):
        self.engine, self.steps = engine, steps
        self.budget = 60 * (minutes or 10.0)
        self.now = time.process_time if kind == "processor" else time.monotonic
        self.begin = self.now() - seconds
        self.tick(step, agree=True)

    @property
    def seconds(self) -> float:
        """Spent, by this process's clock."""
        return self.now() - self.begin

    @property
    def done(self) -> bool:
        return self.progress >= 1

    def tick(self, step: int, *, agree: bool = False) -> None:
        """Moves on to ``step``."""
        if agree or self.engine.world_size == 1 or step % self.EVERY == 0:
            self.agreed = self.engine.broadcast(self.seconds)
        self.progress = step / self.steps if self.steps else self.agreed / self.budget


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
    owners: Mapping[str, str] = {},
) -> torch.optim.AdamW:
    """The optimiser of a player; only matrices decay. A part may give a parameter a ``momentum`` of its own.

    Parameters whose names have an owner are in groups of their own, which say so.
    """
    matrices = hidden_matrices(trainee) if config.optimizer == "muon" else set()
    owned = {parameter: owners.get(name, "") for name, parameter in trainee.named_parameters()}
    kinds: dict[tuple[bool, bool, float, str], list[nn.Parameter]] = {}
    for p in trainee.parameters_of(player):
        if p.requires_grad:
            momentum = getattr(p, "momentum", MOMENTUM)
            kinds.setdefault((p in matrices and momentum > 0, p.ndim < 2, momentum, owned[p]), []).append(p)
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
    validate: Callable[[int], dict[str, float]], step: int, trainee: nn.Module, averages: Average, engine: Engine
) -> dict[str, float]:
    """Scores of the averaged weights."""
    averages.swap()
    trainee.eval()
    try:
        with engine.whole():
            return validate(step)
    finally:
        averages.swap()
        trainee.train()
