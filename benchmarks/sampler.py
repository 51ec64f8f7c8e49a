"""Overhead of a sampling step with a free network, against `diffusers`' FlowMatchEulerDiscreteScheduler.

    python benchmarks/sampler.py [--rounds 9] [--steps 50] [--repeats 40]

Both solve the same 50 Euler steps on a latent of (1, 16, 8, 8) whose velocity costs nothing (it is a constant), and
must end at the same place. Times are of process CPU, one thread, in alternating rounds; the ratio is the median over
the rounds. Prints a table and writes benchmarks/results/sampler.json.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from polymodal.nn.ode import SOLVERS
from record import RESULTS, about, save

BAR = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=40, help="samples drawn in one timing")
    parser.add_argument("--output", type=Path, default=RESULTS / "sampler.json")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    noise, velocity = torch.randn(2, 1, 16, 8, 8)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(arguments.steps)
    times = scheduler.sigmas.clone()  # the same steps for both

    def ours(name: str) -> Callable[[], Tensor]:
        return lambda: SOLVERS[name](lambda x, t: velocity, noise, times)

    def theirs() -> Tensor:
        scheduler.set_timesteps(arguments.steps)
        x = noise
        for t in scheduler.timesteps:
            x = scheduler.step(velocity, t, x, return_dict=False)[0]
        return x

    def theirs_prepared() -> Tensor:
        # The table of times is kept from the sample before.
        scheduler._step_index = 0
        x = noise
        for t in scheduler.timesteps:
            x = scheduler.step(velocity, t, x, return_dict=False)[0]
        return x

    functions = {
        "polymodal euler": ours("euler"),
        "polymodal heun": ours("heun"),
        "polymodal midpoint": ours("midpoint"),
        "diffusers": theirs,
        "diffusers, times prepared": theirs_prepared,
    }
    for name, function in functions.items():
        torch.testing.assert_close(function(), theirs(), msg=f"{name} ends elsewhere")

    micros: dict[str, list[float]] = {name: [] for name in functions}
    with torch.inference_mode():
        for _ in range(arguments.rounds):
            for name, function in functions.items():
                start = time.process_time()
                for _ in range(arguments.repeats):
                    function()
                micros[name].append((time.process_time() - start) / arguments.repeats / arguments.steps * 1e6)

    euler = micros["polymodal euler"]
    rows = {
        name: {
            "microseconds_per_step": median(taken),
            "times_euler": median(t / e for t, e in zip(taken, euler, strict=True)),
        }
        for name, taken in micros.items()
    }
    print(f"{'':28}{'us per step':>12}{'of ours':>10}")
    for name, row in rows.items():
        print(f"{name:28}{row['microseconds_per_step']:12.2f}{row['times_euler']:9.2f}x")
    ratio = rows["diffusers, times prepared"]["times_euler"]
    print(f"bar: at least {BAR} x less overhead: {'met' if ratio >= BAR else 'MISSED'} ({ratio:.2f} x)")
    result = {"rows": rows, "ratio": ratio, "bar": BAR, "rounds": arguments.rounds, "steps": arguments.steps}
    save(about(time.perf_counter() - begin, seed=0, peer="diffusers") | result, arguments.output)


if __name__ == "__main__":
    main()
