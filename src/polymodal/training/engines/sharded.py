"""Each process holds a piece of every weight, and sees some of the rows. By FSDP2 of PyTorch."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.state import PartialState
from pydantic import NonNegativeInt
from torch import Tensor, distributed, nn

from polymodal import checkpoint as checkpoints
from polymodal.checkpoint_pieces import file_of, read_pieces, write_pieces
from polymodal.errors import ConfigError
from polymodal.files import file_sha256
from polymodal.model import MicroBatch, Model
from polymodal.nn.pieces import placed_like, whole
from polymodal.training.ema import Average
from polymodal.training.engines.base import Engine


class Sharded(Engine):
    """``fully_shard``: weights, gradients, averages and what the optimiser keeps lie in pieces, one on each process.

    The weights of a block, such as one of a transformer, are brought together while it is used; those of all else
    during a whole step. Codecs and vocoders, which are trained first, and parts that do not learn are whole everywhere.
    A checkpoint is written by all processes, each its own pieces, and goes on with any number of them. Validation and
    samples, which the first process makes, need the weights to fit into one device; all else needs a share of it.

    Source: Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter models", 2020, stage 3.

    Args:
        precision: ``no``, or ``bf16`` where PyTorch's autocast takes it.
        device: Where to compute; a GPU if there is one, where not given.
        block_weights: Numbers from which on a block is brought together by itself.

    Raises:
        ConfigError: The precision is ``fp16``, whose losses would have to be scaled.
    """

    def __init__(
        self, precision: str, device: torch.device | None = None, *, block_weights: NonNegativeInt = 1 << 16
    ) -> None:
        if precision == "fp16":
            raise ConfigError("kind: 'sharded' does not scale losses, as train.precision: fp16 needs it; take bf16")
        self.rank, self.world_size = 0, 1
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if "LOCAL_RANK" in os.environ:
            processes = PartialState(cpu=self.device.type == "cpu")
            self.rank, self.world_size = processes.process_index, processes.num_processes
            self.device = processes.device
        self.precision, self.block_weights = precision, block_weights
        self._units: list[Any] = []

    def prepare(self, trainee: Any, make_optimizer: Callable[[str], torch.optim.Optimizer]) -> None:
        self.trainee, self._units = trainee, []
        if self.world_size > 1 and isinstance(trainee, Model):
            self._shard(trainee)
        self.optimizers = {player: make_optimizer(player) for player in trainee.players}

    def _shard(self, model: Model) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        still = {parameter for parameter in model.parameters() if not parameter.requires_grad}
        mesh = init_device_mesh(self.device.type, (self.world_size,))
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()  # pieces are those of the first axis, whatever is faster
        marks = {name: dict(vars(parameter)) for name, parameter in model.named_parameters()}
        self._units = [*_blocks(model, self.block_weights), model]
        for unit in self._units:
            fully_shard(unit, mesh=mesh, ignored_params=still)
        for name, parameter in model.named_parameters():  # such as a momentum of its own
            vars(parameter).update(marks[name])
        # Else a block that is used by itself first takes itself for the root.
        fully_shard.state(model)._lazy_init()  # type: ignore[attr-defined]

    def backward(self, micro_batch: MicroBatch, player: str, *, last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            loss, terms = self.trainee(micro_batch, player)
        loss, terms = loss.float(), {name: term.float() for name, term in terms.items()}
        self.summed(loss).backward()
        if last and self.world_size > 1 and not self._units:
            self._average(self.trainee)
        return loss, terms

    def _average(self, trainee: nn.Module) -> None:
        """Gradients of a part that is whole on every process."""
        gradients = [p.grad for p in trainee.parameters() if p.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients]) / self.world_size
        distributed.all_reduce(together)
        for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view(gradient.shape))

    def step(self, player: str, clip: float) -> Tensor:
        optimizer = self.optimizers[player]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = whole(nn.utils.get_total_norm(gradients))
        nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        if norm.is_cuda:  # the fused kernels skip the step without being waited for
            optimizer.found_inf = norm.isfinite().logical_not().float()  # type: ignore[attr-defined]
            optimizer.step()
        elif norm.isfinite():
            optimizer.step()
        for each in self.optimizers.values():
            each.zero_grad(set_to_none=True)
        return norm

    def wait(self) -> None:
        if self.world_size > 1:
            distributed.barrier()

    @property
    def in_pieces(self) -> bool:
        return True

    @contextmanager
    def whole(self) -> Iterator[None]:
        for unit in self._units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
        finally:
            for unit in self._units:
                unit.reshard()
                unit.set_reshard_after_forward(unit is not self.trainee, recurse=False)
                self._forget_order(unit)

    @staticmethod
    def _forget_order(unit: nn.Module) -> None:
        """Else the first process alone would fetch weights ahead in the order in which it has just used them."""
        from torch.distributed.fsdp import fully_shard

        state = fully_shard.state(unit)  # type: ignore[attr-defined]
        state._comm_ctx.post_forward_order.clear()
        for group in state._fsdp_param_groups:
            group._post_forward_indices.clear()

    def release(self) -> None:
        for unit in self._units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()

    def save(
        self,
        stage: Path,
        step: int,
        averages: Average,
        documents: Mapping[str, Any],
        keep: int,
        keep_bytes: float = math.inf,
    ) -> None:
        tensors = self.state(averages)
        if not self.main:
            self._write(None, tensors)
            return
        self._asked = False
        try:
            checkpoints.save(stage, step, tensors, documents, keep, keep_bytes, self._write)
        except BaseException:
            if not self._asked and self.world_size > 1:  # the others wait to hear where to write
                distributed.broadcast_object_list([None], 0)
            raise

    def _write(self, folder: Path | None, tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, str]:
        """Writes this process's pieces to a folder of the first one's; returns the digests of all processes' files."""
        self._asked = True
        place: list[Any] = [folder]
        if self.world_size > 1:
            distributed.broadcast_object_list(place, 0)
        if place[0] is None:
            raise OSError("the first process could not begin a checkpoint; it says why")
        own = {}
        for name, group in tensors.items():
            write_pieces(place[0] / name, group)
            file = file_of(place[0] / name, self.rank)
            if file.exists():
                own[file.relative_to(place[0]).as_posix()] = file_sha256(file)
        everyone: list[Any] = [own]
        if self.world_size > 1:
            everyone = [None] * self.world_size
            distributed.all_gather_object(everyone, own)
        return {name: digest for each in everyone for name, digest in sorted(each.items())}

    def load(self, checkpoint: checkpoints.Checkpoint, averages: Average) -> None:
        self._read(checkpoint, "model", checkpoints.weights_of(self.trainee))
        kept = averages.state() if checkpoint.has("trainer/averages") else {}
        weights = {name: torch.empty_like(p) for name, p in averages.parameters.items()}
        self._read(checkpoint, "trainer/averages", kept)
        self._read(checkpoint, "ema", weights)
        averages.restore(kept, weights)
        there = checkpoint.claimed("trainer/optimizer")
        for player, optimizer in self.optimizers.items():
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            state: dict[str, Tensor] = {}
            for name, claim in there.items():
                owner, number, _ = name.rsplit(".", 2)
                if owner == player:
                    parameter = parameters[int(number)]
                    like = claim.shape == parameter.shape
                    state[name] = torch.zeros_like(parameter) if like else torch.zeros(claim.shape, dtype=claim.dtype)
            self._read(checkpoint, "trainer/optimizer", state)
            checkpoints.restore_optimizer(optimizer, state, player)

    @torch.no_grad()
    def _read(self, checkpoint: checkpoints.Checkpoint, name: str, targets: Mapping[str, Tensor]) -> None:
        """Fills tensors, of which this process may hold pieces, from a checkpoint of any engine's."""
        if checkpoint.in_pieces(name):
            read_pieces(checkpoint.folder(name), {key: target.detach() for key, target in targets.items()})
        elif targets:
            found = checkpoint.tensors(name)
            for key, target in targets.items():
                target.copy_(placed_like(found[key], target))


def _blocks(model: nn.Module, least: int) -> Iterator[nn.Module]:
    """Members of lists of modules, of parts of their own and of many weights, none of which lies in another."""
    for module in model.children():
        for child in module.children() if isinstance(module, nn.ModuleList) else []:
            weights = [parameter for parameter in child.parameters() if parameter.requires_grad]
            if [*child.children()] and not isinstance(child, nn.ModuleList) and weights:
                if sum(weight.numel() for weight in weights) >= least:
                    yield child
            else:
                yield from _blocks(child, least)
        if not isinstance(module, nn.ModuleList):
            yield from _blocks(module, least)
