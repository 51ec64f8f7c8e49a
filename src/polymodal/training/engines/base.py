"""What every engine is: it runs the steps of the training loop, on one process or many."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from polymodal.checkpoint import Checkpoint, flatten_optimizer, weights_of
from polymodal.model import MicroBatch
from polymodal.training.ema import Average


class Engine(ABC):
    """Runs the steps of the loop. Every process calls the same methods of its engine in the same order.

    A constructor takes ``(precision, device)`` by position (``no``, ``bf16`` or ``fp16``; None leaves the choice of the
    device to it) and its configuration as keyword-only arguments.

    Attributes:
        rank: Number of this process, from 0.
        world_size: Number of processes.
        device: Where this process computes.
        trainee: That was prepared last.
        optimizers: By player, of the trainee.
        patience: Steps in a row without a finite gradient after which training stops.
    """

    rank: int
    world_size: int
    device: torch.device
    trainee: Any
    optimizers: Mapping[str, torch.optim.Optimizer]
    patience: int = 8

    @property
    def main(self) -> bool:
        """Whether this is the process that writes logs and samples."""
        return self.rank == 0

    @property
    def uniform(self) -> bool:
        """Whether a step must call the same modules on every process, whatever fields the rows of one of them lack."""
        return self.world_size > 1

    @abstractmethod
    def prepare(self, trainee: Any, make_optimizer: Callable[[str], torch.optim.Optimizer]) -> None:
        """Makes a trainee, in place, ready to be trained by this engine, which may replace its parameters.

        Args:
            trainee: A ``Trainee`` module of ``training.loop``, on ``device``.
            make_optimizer: Makes the optimiser of a player; called once the parameters are those that are trained.
        """

    @abstractmethod
    def backward(self, micro_batch: MicroBatch, player: str, *, last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Adds the gradients of one micro-batch; after the ``last`` of a step they are those of all processes.

        Where the loss is not finite on one process, no gradient is on any.

        Returns:
            The loss and its terms, as the trainee gave them for this process's rows.
        """

    @abstractmethod
    def step(self, player: str, clip: float) -> Tensor:
        """Moves a player's parameters by gradients of norm ``clip`` at most, then forgets all gradients.

        A gradient that is not finite moves nothing, and leaves the optimiser as it was.

        Returns:
            The norm of the gradient before it was clipped.
        """

    def summed(self, loss: Tensor) -> Tensor:
        """The loss whose gradient, averaged over the processes, is that of the sum of their losses.

        An infinite loss may have a finite gradient: 0 times it is no number, and then no gradient is.
        """
        return loss * (0 * loss.detach() + self.world_size)

    def broadcast(self, number: float) -> float:
        """The first process's number."""
        if self.world_size == 1:
            return number
        shared = torch.tensor(number, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared)

    @abstractmethod
    def wait(self) -> None:
        """Returns once every process has called it."""

    @abstractmethod
    def save(
        self,
        stage: Path,
        step: int,
        averages: Average,
        documents: Mapping[str, Any],
        keep: int,
        keep_bytes: float = math.inf,
    ) -> None:
        """Writes a checkpoint: the trainee's weights, their averages, the optimisers and ``documents``.

        Args:
            stage: Folder of the run or of one of its stages.
            step: Number of steps taken.
            averages: Of the weights.
            documents: By file name without suffix, as JSON.
            keep: Checkpoints that stay, at least 1.
            keep_bytes: Most bytes of them, as of ``checkpoint.save``.
        """

    def state(self, averages: Average) -> dict[str, dict[str, Tensor]]:
        """The tensors of a checkpoint by file: the trainee's weights, their averages, and what the optimisers keep."""
        kept: dict[str, Tensor] = {}
        for player, optimizer in self.optimizers.items():
            kept |= flatten_optimizer(optimizer.state_dict(), player)
        return {
            "model": weights_of(self.trainee), "ema": averages.weights, "trainer/optimizer": kept,
            "trainer/averages": averages.state(),
        }  # fmt: skip

    @abstractmethod
    def load(self, checkpoint: Checkpoint, averages: Average) -> None:
        """Puts back all that ``save`` wrote, but for the documents."""

    @property
    def in_pieces(self) -> bool:
        """Whether no process holds the weights of all modules, so that none can name them by itself."""
        return False

    def whole(self) -> AbstractContextManager[None]:
        """While it is entered, the first process may use the modules by itself, as validation does."""
        return nullcontext()

    def release(self) -> None:
        """Called once the training is over: every process may use the modules by itself from now on."""
