"""The training loop of models, codecs and vocoders. An engine runs its steps, on one process or many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from polymodal import checkpoint as checkpoints
from polymodal import stopping
from polymodal.config import TrainConfig
from polymodal.model import MicroBatch
from polymodal.nn.pieces import whole
from polymodal.nn.random import make_keys
from polymodal.progress import Progress
from polymodal.training.adaptation import Adaptation
from polymodal.training.ema import CANDIDATES, SNAPSHOTS, STORED, Average, drop_snapshots
from polymodal.training.engines import Engine
from polymodal.training.log import Log
from polymodal.training.muon import Muon, hidden_matrices, of_muon
from polymodal.training.non_finite import GRADIENT, StepGuard, check_weights
from polymodal.training.step_loader import StepLoader

VALIDATION_SHARE = 0.05
"""Most of a time budget that validations and their samples take."""
CHOICE_SHARE = 0.02
"""What is left of a time budget at the end for each choice, as of the length of the averages; one judgement may go
beyond it."""
T = TypeVar("T")

MOMENTUM = 0.9
"""Of the gradient (Adam's first beta), but for parameters that say otherwise, as those of adversaries do."""


Validate = Callable[[int, float], dict[str, float]]
"""(step, seconds that it may take) -> scores."""


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
    validate: Validate | None = None,
    judge: Callable[[], float] | None = None,
    adaptation: Adaptation | None = None,
    print_progress: bool = True,
    late: float = 0.0,
    finish: Callable[[Average, float], None] | None = None,
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
        validate: Called now and then with the averaged weights in place; its scores are logged. Of a time budget, all
            calls together take ``VALIDATION_SHARE``.
        judge: The loss of held-out rows, by which the length of the averages is chosen at the end; without it they are
            of the longest of ``ema.STORED``.
        adaptation: What follows the losses; nothing if not given.
        print_progress: Whether to tell how far it is.
        late: Seconds of the time budget that were spent before, half of it at most.
        finish: Called at the end with the averaged weights, before they are saved for the last time, and with the
            seconds that it may take.

    Returns:
        The averaged weights.

    Raises:
        TrainingError: Losses, gradients or weights are not finite, and will not be so again.
        Stopped: A signal asked for it; the step that was in work is saved.
    """
    with stopping.finishing():
        return _train(
            trainee, loader, config, stage, engine, learning_rate, minutes, steps, config_document, validate, judge,
            adaptation or Adaptation(), print_progress, late, finish,
        )  # fmt: skip


def _train(
    trainee: Any,
    loader: StepLoader,
    config: TrainConfig,
    stage: Path,
    engine: Engine,
    learning_rate: float,
    minutes: float | None,
    steps: int | None,
    config_document: Mapping[str, Any],
    validate: Validate | None,
    judge: Callable[[], float] | None,
    adaptation: Adaptation,
    print_progress: bool,
    late: float,
    finish: Callable[[Average, float], None] | None,
) -> Average:
    engine.prepare(trainee, lambda player: make_optimizer(trainee, player, learning_rate, config, adaptation.owners))
    lengths = [config.ema_length] if config.ema_length else CANDIDATES if judge else STORED[-1:]
    stored = STORED if set(lengths) - set(STORED[-1:]) else STORED[-1:]
    averages, snapshots = Average(checkpoints.trained_parameters(trainee), stored), stage / "averages"
    step, seconds, skipped, spent, kept, chosen = 0, 0.0, 0, 0.0, None, False
    if saved := checkpoints.newest(stage):
        with checkpoints.going_on(saved):
            engine.load(saved, averages)
            state = saved.document("trainer/state")
            adaptation.restore(state.get("adaptation", {}), first=engine.main)
            step = kept = int(state["step"])
            seconds, skipped = float(state["seconds"]), int(state.get("skipped", 0))
            chosen = bool(state.get("chosen", state.get("done")))  # earlier versions chose nothing
            spent, late = float(state.get("validating", 0.0)), max(late, float(state.get("late", 0.0)))
    late = engine.broadcast(late)
    label = f"{stage.parent.name[:-1]} of {stage.name}" if stage.parent.name in ("codecs", "vocoders") else str(stage)
    remedy = f"look at the values of these fields, or lower the learning rate ({learning_rate:g})"
    guard = StepGuard(engine, label, skipped, remedy)
    more: dict[str, Any] = {"late": late, "validating": spent, "choices": (len(lengths) > 1) + (finish is not None)}
    clock = Clock(engine, minutes, steps, step, seconds, config.clock, **more)
    last_save, validations = clock.agreed, _validations(clock, config)
    if engine.main:
        drop_snapshots(snapshots, step)

    def count_skipped() -> None:
        log.decisions(step, guard.read(step, lambda: _not_finite(trainee, engine, micro_batches)))

    def check() -> None:
        """Raises if what was trained must be neither kept nor shown."""
        check_weights(trainee, averages, label, kept, remedy)
        count_skipped()
        if clock.done:
            guard.check_end(step)

    def save(*, chosen: bool = False) -> None:
        nonlocal kept
        check()
        # A finished run has spent its budget, though the time of a last validation was not needed.
        seconds = max(clock.seconds, clock.budget) if chosen and not clock.steps else clock.seconds
        state = {"step": step, "seconds": seconds, "done": clock.done, "skipped": guard.skipped, "chosen": chosen}
        state |= {"validating": clock.validating, "late": late}
        documents = {"config": config_document, "trainer/state": {**state, "adaptation": adaptation.state}}
        engine.save(stage, step, averages, documents, config.keep, 1e6 * config.keep_megabytes)
        kept = step

    trainee.train()
    shown = print_progress and engine.main
    with (
        Progress(_title(stage), shown=shown) as progress,
        Log(stage, step, clock, progress, enabled=engine.main, share=1 / engine.world_size) as log,
    ):
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
                    log.add(player, loss, terms)
                    prefix = "" if player == "model" else f"{player}."
                    guard.add((f"{prefix}loss", *(prefix + name for name in terms)), [loss, *terms.values()])
                    adaptation.observe(player, terms, micro_batch.counts)
                norm = engine.step(player, config.clip)
                guard.add((GRADIENT + player,), [norm], skip=True)
                log.norm(player, norm)
            skipped_now = guard.end_step()
            log.end_step()
            averages.update(step)
            step, part = step + 1, int(SNAPSHOTS * clock.progress)
            clock.tick(step)
            if len(stored) > 1 and part < int(SNAPSHOTS * clock.progress) < SNAPSHOTS:
                averages.snapshot(snapshots, step, write=engine.main)
            adaptation.step(step, skipped_now)
            log.decisions(step, trainee.decisions() + adaptation.decisions())
            if step % config.log_every == 0:
                count_skipped()
                log.write(step, rate, loader.batch_size * config.log_every, adaptation.numbers())
            log.tick(step)
            if validate and (_validations(clock, config) > validations or clock.done):
                validations = _validations(clock, config)
                if clock.may_validate:
                    check()
                    scores = _validated(partial(validate, step, clock.validation_seconds), trainee, averages, clock)
                    log.scores(step, scores)
                    adaptation.validated(scores)
            due = config.checkpoint_steps and step % config.checkpoint_steps == 0
            if due or (not config.checkpoint_steps and clock.agreed - last_save > 60 * config.checkpoint_every):
                save()
                last_save = clock.agreed
            if number := clock.asked_to_stop(step):
                if kept != step:
                    save()
                engine.wait()
                raise stopping.Stopped(number)
        check()
        if not (saved and saved.step == step and chosen):
            engine.wait()  # for the first process's snapshots
            spent = clock.validating
            judged = partial(_validated, judge or float, trainee, averages, clock)
            length, losses = averages.choose(
                lengths, snapshots, step, judged, engine.broadcast, clock.choice_seconds, clock.now
            )
            seen = ", ".join(f"{each:g}: {of:.4g}" for each, of in sorted(losses.items()))
            log.decisions(step, [f"averaged weights of length {length:g}: losses {seen}"] if losses else [])
            if finish:
                finish(averages, clock.choice_seconds)
            clock.validating = spent  # what goes on later has its share of validations all the same
            save(chosen=True)
    engine.wait()
    return averages


def _title(stage: Path) -> str:
    """What is trained in a folder, in words."""
    family = {"codecs": "codec", "vocoders": "vocoder"}.get(stage.parent.name)
    return f"training {family} of {stage.name}" if family else "training"


def _not_finite(trainee: Any, engine: Engine, micro_batches: Sequence[MicroBatch]) -> list[str]:
    """Names of the parameters whose gradient has no finite norm in a step, which has moved nothing and is taken again.

    If only all gradients together have none, it is that of the largest.
    """
    norms: dict[str, float] = {}
    for player in trainee.players:
        for number, micro_batch in enumerate(micro_batches, 1):
            engine.backward(micro_batch, player, last=number == len(micro_batches))
        moved = set(trainee.parameters_of(player))
        for name, parameter in trainee.named_parameters():
            if parameter in moved and parameter.grad is not None:
                norms[name] = float(whole(parameter.grad.norm()))
        trainee.zero_grad(set_to_none=True)
    return [name for name, norm in norms.items() if not math.isfinite(norm)] or [max(norms, key=lambda n: norms[n])]


class Clock:
    """How far a stage is: by steps, or by the first process's time, which all processes follow.

    Args:
        engine: Processes.
        minutes: Time budget, or
        steps: number of steps.
        step: Steps taken before.
        seconds: Time spent before.
        kind: Which clock the minutes are of: the ``wall``'s, or the ``processor``'s time of this process.
        late: Seconds that the time budget is less, half of it at most.
        validating: Seconds that validations took before.
        choices: How many things are to be chosen at the end.

    Attributes:
        agreed: Seconds spent, as of the last agreement of all processes.
        progress: Share of the budget that is spent. Of a time budget, as long as the last validation took is left for
            the one at the end, and ``choice_seconds`` for each choice.
        choice_seconds: How long a choice at the end may take.
        validating: Seconds that validations took.
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
        *,
        late: float = 0.0,
        validating: float = 0.0,
        choices: int = 0,
    ):
        self.engine, self.steps = engine, steps
        self.budget = 60 * (minutes or 10.0)
        self.budget -= min(late, self.budget / 2)
        self.choice_seconds = math.inf if steps else CHOICE_SHARE * self.budget
        self.choices = choices
        self.validating, self._last_validation = validating, 0.0
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
        if agree or self._agrees(step):
            self.agreed = self.engine.broadcast(self.seconds)
        left = self.budget - self._last_validation - (0.0 if self.steps else self.choices * self.choice_seconds)
        self.progress = step / self.steps if self.steps else self.agreed / left if left > self.agreed else 1.0

    def asked_to_stop(self, step: int) -> int:
        """Number of the signal that has asked the first process to stop, 0 for none; all processes hear the same."""
        return int(self.engine.broadcast(stopping.asked())) if self._agrees(step) else 0

    def _agrees(self, step: int) -> bool:
        return self.engine.world_size == 1 or step % self.EVERY == 0

    @property
    def may_validate(self) -> bool:
        """Whether there is time for another validation, and of a time budget for the one at the end as well.

        For that at the end, half of the time that the last one took is enough: it has fewer samples then.
        """
        more = self._last_validation * (0.5 if self.done else 2)
        return bool(self.steps) or self.validating + more <= VALIDATION_SHARE * self.budget

    @property
    def validation_seconds(self) -> float:
        """How long the next validation may take; the first one leaves as much for that at the end."""
        left = VALIDATION_SHARE * self.budget - self.validating
        return math.inf if self.steps else left if self.done else left / 2

    def validated(self, seconds: float) -> None:
        """Says how long a validation took."""
        self._last_validation = 0.0 if self.steps else self.engine.broadcast(seconds)
        self.validating += self._last_validation


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
    matrices = hidden_matrices(trainee) if config.optimizer == "muon" else of_muon(trainee)
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
    if matrices:
        return Muon(groups, learning_rate)
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def _validated(validate: Callable[[], T], trainee: nn.Module, averages: Average, clock: Clock) -> T:
    """Scores of the averaged weights."""
    averages.swap()
    trainee.eval()
    begin = clock.now()
    try:
        with clock.engine.whole():
            return validate()
    finally:
        averages.swap()
        trainee.train()
        clock.validated(clock.now() - begin)
