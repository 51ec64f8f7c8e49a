"""What the training loop costs beside a bare loop of the same forward, backward and fused AdamW.

    python benchmarks/training.py

Both loops see the same rows of the data set ``emoji`` in the same order. Ours also fetches and decodes the rows, draws
tasks, clips gradients, averages weights, logs and follows the schedule. Medians of alternating rounds of process CPU
time, one thread. Bar: at most 1.05.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import polymodal as pm
from polymodal.config import load_recipe
from polymodal.model import Model
from polymodal.resolution import resolve
from polymodal.training import tasks
from polymodal.training.engines.data_parallel import DataParallel
from polymodal.training.frozen import with_frozen
from polymodal.training.loop import train
from polymodal.training.step_loader import StepLoader
from record import RESULTS, about, save

WARM = 3


class TimedStepLoader(StepLoader):
    """Notes the process's CPU time at the start of each step."""

    def stream(self, start):
        self.marks = []
        for micro_batches in super().stream(start):
            self.marks.append(time.process_time())
            yield micro_batches


def setting(batch_size):
    data = pm.load(
        "emoji:concepts=240",
        fields={"picture": pm.Image(size=64), "name": pm.Text(max_length=32), "speech": pm.Audio(max_seconds=2.0)},
    )
    recipe = resolve(load_recipe("any-to-any"), data.fields)
    torch.manual_seed(0)
    model = Model(recipe, data.fields)
    with tempfile.TemporaryDirectory() as folder:
        rows = with_frozen(model, data.train, Path(folder), DataParallel("no"))
    known = dict.fromkeys(model.modalities, True)

    def draw(present, keys):
        return tasks.draw({name: present[name] for name in known}, known, known, recipe.tasks, keys)

    return (
        model,
        TimedStepLoader(rows, draw, batch_size=batch_size, tasks_per_row=recipe.tasks.tasks_per_row),
        recipe.train,
    )


def ours(model, loader, config, steps):
    folder = Path(tempfile.mkdtemp())
    config = config.model_copy(update={"checkpoint_steps": 10**9, "checkpoint_every": 1e9})
    train(
        model, loader, config, folder, engine=DataParallel("no"), learning_rate=config.learning_rate, steps=steps + WARM
    )
    shutil.rmtree(folder)
    return (loader.marks[-1] - loader.marks[WARM]) / (len(loader.marks) - 1 - WARM)


def bare(model, micro_batches, config, steps):
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=config.learning_rate, fused=True
    )
    for step in range(steps + WARM):
        if step == WARM:
            begin = time.process_time()
        loss, _ = model(micro_batches[step], "model")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return (time.process_time() - begin) / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "training.json")
    args = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    model, loader, config = setting(args.batch_size)
    micro_batches = [loader.micro_batches(step)[0] for step in range(args.steps + WARM)]
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    seconds = {"ours": [], "bare": []}
    for _ in range(args.rounds):
        model.load_state_dict(state)
        seconds["ours"].append(ours(model, loader, config, args.steps))
        model.load_state_dict(state)
        seconds["bare"].append(bare(model, micro_batches, config, args.steps))
    ratio = statistics.median(a / b for a, b in zip(seconds["ours"], seconds["bare"], strict=True))
    table = Table("loop", "CPU ms per step (median)", title=f"any-to-any, {args.batch_size} rows a step, one thread")
    for name, values in seconds.items():
        table.add_row(name, f"{1000 * statistics.median(values):.1f}")
    table.add_row("ratio (bar 1.05)", f"{ratio:.3f}")
    Console().print(table)
    result = {"ratio": ratio, "bar": 1.05, "seconds": seconds, "rounds": args.rounds, "batch_size": args.batch_size}
    save(about(time.perf_counter() - begin, seed=0) | result, args.output)


if __name__ == "__main__":
    main()
