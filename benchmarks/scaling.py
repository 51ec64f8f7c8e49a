"""What a training step costs in bytes, FLOPs and network, measured here and predicted for clusters.

    python benchmarks/scaling.py             # the predictions
    python benchmarks/scaling.py --measure   # measured at 1, 2 and 4 processes on this machine as well

docs/scaling.md derives the model of the costs. Measured are, on synthetic pictures, texts and labels and for both
engines: the bytes that each process passes to collectives and the bytes that it holds, which the model must meet but
for padding; and the processor's time of all processes together, which it predicts from one process at two batch sizes
and from an all-reduce. Wall-clock time is not measured: processes share cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import distributed
from torch.utils.flop_counter import FlopCounterMode

from record import about, save

PROCESSES, STEPS, WARM, BATCH = (1, 2, 4), 6, 2, 32
ENGINES = ("data_parallel", "sharded")
FLOAT = 4
"""Bytes of a number: weights, gradients, averages and the optimiser's moments are in 32 bits."""


@dataclass(frozen=True)
class Device:
    """A GPU in a cluster, by its data sheet.

    Attributes:
        flops: Of dense matrices in bf16, a second.
        share: Of these that a training reaches.
        memory: Bytes.
        near: Bytes a second that it sends to others of its machine.
        far: Bytes a second that it sends to other machines.
        per_machine: GPUs of one machine.
    """

    flops: float = 989e12
    share: float = 0.4
    memory: float = 80e9
    near: float = 450e9
    far: float = 50e9
    per_machine: int = 8


@dataclass(frozen=True)
class Workload:
    """What is trained.

    Attributes:
        weights: Numbers that train.
        in_blocks: Of these, numbers in blocks, which are gathered once for the forward and once for the backward pass.
        rows: Of a step, over all processes.
        flops_per_row: Forward and backward.
        lengths: Averages of the weights that are kept, 1 or 2.
    """

    weights: float
    in_blocks: float
    rows: int
    flops_per_row: float
    lengths: int = 2


def network_bytes(engine: str, work: Workload, processes: int) -> float:
    """That one process sends in a step: of a ring, which all-reduces in 2 (n - 1) / n of the numbers."""
    ring = (processes - 1) / processes
    if engine == "data_parallel":
        return 2 * ring * FLOAT * work.weights
    return ring * FLOAT * (2 * work.weights + work.in_blocks)  # gather, scatter what is reduced; blocks gathered twice


def held_bytes(engine: str, work: Workload, processes: int) -> float:
    """That one process holds between two steps: weights, two moments, averages."""
    copies = 3 + work.lengths
    return copies * FLOAT * work.weights / (processes if engine == "sharded" else 1)


def peak_bytes(engine: str, work: Workload, processes: int) -> float:
    """The most that it holds, without activations: in a step gradients as well, in a validation all weights."""
    if engine == "data_parallel":
        return held_bytes(engine, work, processes) + FLOAT * work.weights
    step = work.weights / processes + (work.weights - work.in_blocks)  # what lies in no block is gathered throughout
    return held_bytes(engine, work, processes) + FLOAT * max(step, work.weights)


def step_seconds(engine: str, work: Workload, processes: int, device: Device) -> tuple[float, float]:
    """(computing, network) seconds of a step on GPUs; the step takes between the larger one and the sum."""
    computing = work.rows * work.flops_per_row / processes / (device.flops * device.share)
    link = device.near if processes <= device.per_machine else device.far
    return computing, network_bytes(engine, work, processes) / link


def transformer(weights: float, tokens: int, rows_per_gpu: int, gpus: int) -> Workload:
    """A transformer of that many weights, nearly all in blocks, that sees so many tokens of a row."""
    return Workload(weights, 0.95 * weights, rows_per_gpu * gpus, 6 * weights * tokens)


def predictions(device: Device) -> list[dict[str, Any]]:
    lines = []
    for weights in (100e6, 1e9, 8e9):
        for gpus in (8, 512):
            for engine in ENGINES:
                work = transformer(weights, tokens=1024, rows_per_gpu=16, gpus=gpus)
                computing, network = step_seconds(engine, work, gpus, device)
                peak = peak_bytes(engine, work, gpus)
                lines.append({
                    "weights": weights, "gpus": gpus, "engine": engine, "rows": work.rows,
                    "network_gigabytes": network_bytes(engine, work, gpus) / 1e9, "peak_gigabytes": peak / 1e9,
                    "fits": peak < 0.7 * device.memory, "computing_seconds": computing, "network_seconds": network,
                    "efficiency_without_overlap": computing / (computing + network),
                    "efficiency_with_overlap": computing / max(computing, network),
                })  # fmt: skip
    return lines


# What follows is measured.


def make_model(width: int) -> tuple[Any, Any]:
    """A model and its rows: pictures, texts and labels at random, some cells of which are missing."""
    import polymodal as pm
    from polymodal.config import load_recipe
    from polymodal.model import Model
    from polymodal.resolution import resolve

    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {
            "picture": random.integers(0, 255, (32, 32, 3), dtype=np.uint8),
            "name": " ".join(random.choice(["red", "green", "disc", "square"], 4)),
            "colour": str(random.choice(["red", "green"])),
        }
        for _ in range(128)
    ]
    for row in rows:
        row[str(random.choice(list(row)))] = None
    fields = {
        "picture": {"modality": "image", "size": 32}, "name": {"modality": "text", "max_length": 24},
        "colour": {"modality": "label"},
    }  # fmt: skip
    data = pm.load(rows, fields, validation=0, test=0)
    recipe = resolve(load_recipe({"width": width, "fields": fields}), data.fields)
    torch.manual_seed(0)
    return Model(recipe, data.fields), data.train


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Bytes that pass through the collectives of FSDP, by kind: of gathers what comes out, of scatters what goes in."""
    from torch.distributed.fsdp._fully_shard import _fsdp_collectives as collectives

    bytes_: dict[str, int] = {}
    kinds = {"gather": (collectives.DefaultAllGather, 0), "scatter": (collectives.DefaultReduceScatter, 1)}
    before = {kind: made.__call__ for kind, (made, _) in kinds.items()}

    def wrap(kind: str, place: int) -> Any:
        def call(self: Any, *args: Any, **options: Any) -> Any:
            tensor = [*args, *options.values()][place]
            bytes_[kind] = bytes_.get(kind, 0) + tensor.nbytes
            return before[kind](self, *args, **options)

        return call

    for kind, (made, place) in kinds.items():
        made.__call__ = wrap(kind, place)
    try:
        yield bytes_
    finally:
        for kind, (made, _) in kinds.items():
            made.__call__ = before[kind]


def work_of_process(engine_name: str, batch: int, width: int, file: Path) -> None:
    """Some steps in this process; what they took is written to a file by the first one."""
    from polymodal.checkpoint import trained_parameters
    from polymodal.config import TrainConfig
    from polymodal.nn.pieces import local
    from polymodal.training import tasks
    from polymodal.training.ema import Average
    from polymodal.training.engines import ENGINES as MADE
    from polymodal.training.loop import make_optimizer
    from polymodal.training.step_loader import StepLoader

    torch.set_num_threads(1)
    engine: Any = MADE[engine_name]("no")
    model, rows = make_model(width)
    config, names = TrainConfig(batch_size=batch), dict.fromkeys(model.modalities, True)

    def draw(present: Any, keys: Any) -> Any:
        return tasks.draw(present, names, names, model.recipe.tasks, keys)

    loader = StepLoader(
        rows, draw, batch_size=batch, process=engine.rank, processes=engine.world_size, uniform=engine.uniform
    )
    flops = 0
    if engine.world_size == 1:
        with FlopCounterMode(display=False) as counter:
            model(loader.micro_batches(0)[0], "model")[0].backward()
        flops, _ = counter.get_total_flops(), model.zero_grad(set_to_none=True)
    weights = sum(p.numel() for p in trained_parameters(model).values())
    engine.prepare(model, lambda player: make_optimizer(model, player, 1e-3, config))
    in_blocks = sum(p.numel() for unit in getattr(engine, "_units", [])[:-1] for p in unit.parameters())
    averages = Average(trained_parameters(model))
    reduced = [0]
    if engine_name == "data_parallel" and engine.world_size > 1:
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        def hook(state: Any, bucket: distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
            reduced[0] += bucket.buffer().nbytes
            return allreduce_hook(state, bucket)

        engine.wrapped.register_comm_hook(None, hook)
    with counted() as bytes_:
        for step in range(WARM + STEPS):
            if step == WARM:
                bytes_.clear()
                reduced[0], begin = 0, time.process_time()
            engine.backward(loader.micro_batches(step)[0], "model", last=True)
            engine.step("model", 1.0)
            averages.update(step)
        seconds = time.process_time() - begin
    held = [*trained_parameters(model).values(), *averages.state().values()]
    held += [value for each in engine.optimizers.values() for state in each.state.values() for value in state.values()]
    own = {
        "seconds": seconds / STEPS, "reduced": reduced[0] / STEPS, "gathered": bytes_.get("gather", 0) / STEPS,
        "scattered": bytes_.get("scatter", 0) / STEPS, "held": sum(local(t).nbytes for t in held),
        "all_reduce_seconds_per_byte": probe() if engine.world_size > 1 else 0.0,
    }  # fmt: skip
    everyone: list[Any] = [own]
    if engine.world_size > 1:
        everyone = [None] * engine.world_size
        distributed.all_gather_object(everyone, own)
    if engine.main:
        known = {"weights": weights, "in_blocks": in_blocks, "flops": flops, "lengths": len(averages.lengths)}
        file.write_text(json.dumps({**known, "processes": everyone}))
    if engine.world_size > 1:
        distributed.destroy_process_group()


def probe(megabytes: int = 16, times: int = 5) -> float:
    """The processor's seconds of this process for each byte of an all-reduce."""
    buffer = torch.ones(megabytes * 1_000_000 // FLOAT)
    begin = time.process_time()
    for _ in range(times):
        distributed.all_reduce(buffer)
    return (time.process_time() - begin) / (times * buffer.nbytes)


def run(engine: str, processes: int, batch: int, width: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone"]
        words = [__file__, "--process", engine, "--batch", str(batch), "--width", str(width), "--json", str(file)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *(launch if processes > 1 else []), *words]
        subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
        return dict(json.loads(file.read_text()))


def measure(width: int) -> list[dict[str, Any]]:
    """Lines of measured and of predicted costs; predictions use one process and the probe of two."""
    alone = {batch: run("data_parallel", 1, batch, width) for batch in (BATCH, BATCH // 4)}
    seconds = {batch: result["processes"][0]["seconds"] for batch, result in alone.items()}
    per_row = (seconds[BATCH] - seconds[BATCH // 4]) / (BATCH - BATCH // 4)
    fixed, flops = seconds[BATCH] - BATCH * per_row, alone[BATCH]["flops"] / BATCH
    lines, per_byte = [], 0.0
    for processes in PROCESSES:
        for engine in ENGINES:
            result = (
                run(engine, processes, BATCH, width) if processes > 1 or engine != "data_parallel" else alone[BATCH]
            )
            each = result["processes"]
            work = Workload(result["weights"], result["in_blocks"], BATCH, flops, result["lengths"])
            per_byte = per_byte or max(one["all_reduce_seconds_per_byte"] for one in each)
            ring = (processes - 1) / processes
            sent = [ring * (2 * one["reduced"] + one["gathered"] + one["scattered"]) for one in each]
            predicted = network_bytes(engine, work, processes)
            # An all-reduce passes each byte twice around the ring.
            network = processes * predicted * per_byte / (2 * ring) if ring else 0.0
            lines.append({
                "processes": processes, "engine": engine, "weights": work.weights, "in_blocks": work.in_blocks,
                "flops_per_row": flops, "sent_megabytes": max(sent) / 1e6, "sent_megabytes_predicted": predicted / 1e6,
                "held_megabytes": max(one["held"] for one in each) / 1e6,
                "held_megabytes_predicted": held_bytes(engine, work, processes) / 1e6,
                "processor_seconds": sum(one["seconds"] for one in each),
                "processor_seconds_predicted": BATCH * per_row + processes * fixed + network,
            })  # fmt: skip
    return lines


def show(title: str, lines: list[dict[str, Any]]) -> None:
    table = Table(*lines[0], title=title)
    for line in lines:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in line.values()))
    Console(width=220).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure at 1, 2 and 4 processes")
    parser.add_argument("--width", type=int, default=128, help="of the model that is measured")
    parser.add_argument("--json", type=Path, default=Path("runs/scaling.json"), help="where the result is written")
    parser.add_argument("--process", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=BATCH, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.process:
        work_of_process(args.process, args.batch, args.width, args.json)
        return
    device, begin = Device(), time.perf_counter()
    result: dict[str, Any] = {"device": asdict(device), "predicted": predictions(device)}
    if args.measure:
        result["width"], result["measured"] = args.width, measure(args.width)
        show("measured here, and what the model of the costs says", result["measured"])
    show("predicted for GPUs as of Device, 16 rows of 1,024 tokens on each", result["predicted"])
    save(about(time.perf_counter() - begin, seed=0) | result, args.json)


if __name__ == "__main__":
    main()
