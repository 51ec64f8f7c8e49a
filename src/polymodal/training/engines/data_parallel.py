"""Each process holds all weights and sees some of the rows; gradients are averaged. By Hugging Face Accelerate."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from polymodal import checkpoint as checkpoints
from polymodal.model import MicroBatch
from polymodal.training.ema import Average
from polymodal.training.engines.base import Engine


class DataParallel(Engine):
    """``DistributedDataParallel`` on many processes; a plain loop on one.

    Args:
        precision: ``no``, or ``bf16`` or ``fp16`` where PyTorch's autocast takes them.
        device: Where to compute; a GPU if there is one, where not given.
    """

    def __init__(self, precision: str, device: torch.device | None = None):
        lone = "LOCAL_RANK" not in os.environ
        if lone and PartialState._shared_state and device is not None and PartialState().device.type != device.type:
            AcceleratorState._reset_state(reset_partial_state=True)  # an earlier run of this process was elsewhere
        elif AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
            AcceleratorState._reset_state()  # else a run of another precision earlier in this process is an error
        on_cpu = not torch.cuda.is_available() if device is None else device.type == "cpu"
        self.accelerator = Accelerator(
            cpu=on_cpu and (not lone or device is not None),  # else it takes torchrun's processes for lone ones
            mixed_precision=precision,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # players take turns
        )
        self.rank, self.world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.device = self.accelerator.device
        if self.accelerator.scaler is not None:
            self.patience += 16  # the scaler begins at 2 ** 16, and halves that until no gradient overflows

    def prepare(self, trainee: Any, make_optimizer: Callable[[str], torch.optim.Optimizer]) -> None:
        self.accelerator.free_memory()  # of the stage before
        self.trainee, self.wrapped = trainee, self.accelerator.prepare_model(trainee)
        if self.world_size > 1:  # in buffers each process sums what its own rows show; heads add these up
            self.wrapped.broadcast_buffers = False
        self.optimizers: dict[str, AcceleratedOptimizer] = {
            player: self.accelerator.prepare_optimizer(make_optimizer(player)) for player in trainee.players
        }

    def backward(self, micro_batch: MicroBatch, player: str, *, last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
            loss, terms = self.wrapped(micro_batch, player)
            self.accelerator.backward(self.summed(loss))
        return loss, terms

    def step(self, player: str, clip: float) -> Tensor:
        optimizer = self.optimizers[player]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = self.accelerator.clip_grad_norm_(parameters, clip)
        if self.accelerator.scaler is None and norm.is_cuda:  # the fused kernels skip the step without being waited for
            optimizer.optimizer.found_inf = norm.isfinite().logical_not().float()
            optimizer.step()
        elif self.accelerator.scaler is not None or norm.isfinite():  # a scaler of losses sees to it itself
            optimizer.step()
        for each in self.optimizers.values():
            each.zero_grad(set_to_none=True)
        return norm

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()

    def save(
        self,
        stage: Path,
        step: int,
        averages: Average,
        documents: Mapping[str, Any],
        keep: int,
        keep_bytes: float = math.inf,
    ) -> None:
        if not self.main:
            return
        tensors = self.state(averages)
        if scaler := self.accelerator.scaler:  # of fp16: by how much losses are scaled, and for how many steps so far
            numbers = {name: torch.tensor(value, dtype=torch.float64) for name, value in scaler.state_dict().items()}
            tensors["trainer/scaler"] = numbers
        checkpoints.save(stage, step, tensors, documents, keep, keep_bytes)

    def load(self, checkpoint: checkpoints.Checkpoint, averages: Average) -> None:
        checkpoints.load_weights(self.trainee, checkpoint.tensors("model"))
        averages.restore(checkpoint.tensors("trainer/averages", missing={}), checkpoint.tensors("ema"))
        scaler, kept = self.accelerator.scaler, checkpoint.tensors("trainer/scaler", missing={})
        if scaler and kept:
            kinds = {name: type(value) for name, value in scaler.state_dict().items()}
            scaler.load_state_dict({name: kinds[name](value.item()) for name, value in kept.items()})
        tensors = checkpoint.tensors("trainer/optimizer")
        for player, optimizer in self.optimizers.items():
            checkpoints.restore_optimizer(optimizer, tensors, player)
