"""Log-mel spectrograms and Griffin-Lim against `librosa`, at equal settings.

    python benchmarks/audio.py [--rounds 7]

Clips of 1 s at 16 kHz (1024-sample frames every 256, 80 Slaney bands from 0 to 8 kHz, 32 iterations of fast
Griffin-Lim with momentum 0.99), in batches, against librosa once per clip and once for the batch. Times are of process
CPU, one thread, in alternating rounds; a ratio is the median over the rounds. Both log-mels must be equal, and our
Griffin-Lim's spectral convergence no worse than librosa's. Prints a table and writes benchmarks/results/audio.json.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read by the libraries below when they are loaded

import librosa  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from polymodal.modalities.mel import MelTransform  # noqa: E402
from polymodal.nn.random import make_keys  # noqa: E402
from record import RESULTS, about, save  # noqa: E402

RATE, N_FFT, HOP, MELS, ITERATIONS = 16_000, 1024, 256, 80, 32
MEL_CLIPS, PHASE_CLIPS, SEED = 64, 16, 0
BARS = {"log-mel, per clip": 3.5, "log-mel, batched": 1.2, "Griffin-Lim, per clip": 3.5, "Griffin-Lim, batched": 2.2}


def clips(count: int) -> torch.Tensor:
    """Voice-like sounds (count, RATE): gliding harmonics and a little noise."""
    generator = torch.Generator().manual_seed(SEED)
    start, glide = 80 + 150 * torch.rand(2, count, 1, generator=generator)
    seconds = torch.arange(RATE) / RATE
    phase = 2 * torch.pi * (start * seconds + 0.3 * glide * seconds**2)
    voiced = sum(0.2 / k * torch.sin(k * phase) for k in range(1, 25))
    return voiced + 0.01 * torch.randn(count, RATE, generator=generator)


def pad(samples: torch.Tensor) -> torch.Tensor:
    """Zeros that put the frames where ours are, so that librosa needs no padding of its own."""
    whole = -(-RATE // HOP) * HOP
    left = (N_FFT - HOP) // 2
    return torch.nn.functional.pad(samples, (left, whole - RATE + N_FFT - HOP - left))


def spectrogram(samples: torch.Tensor) -> torch.Tensor:
    """Magnitudes (B, L, F) of the clips."""
    return torch.fft.rfft(pad(samples).unfold(1, N_FFT, HOP) * torch.hann_window(N_FFT)).abs()


def convergence(samples: torch.Tensor, target: torch.Tensor) -> float:
    """Relative error of the spectrogram: 0 is perfect."""
    return float((spectrogram(samples) - target).norm() / target.norm())


def librosa_mel(padded: np.ndarray) -> np.ndarray:
    settings = {"sr": RATE, "n_fft": N_FFT, "hop_length": HOP, "n_mels": MELS, "fmin": 0.0, "fmax": RATE / 2}
    mel = librosa.feature.melspectrogram(y=padded, power=1.0, center=False, **settings)
    return np.log(np.maximum(mel, 1e-5))


def librosa_griffin_lim(magnitudes: np.ndarray) -> np.ndarray:
    settings = {"n_iter": ITERATIONS, "hop_length": HOP, "n_fft": N_FFT, "momentum": 0.99, "center": False}
    return librosa.griffinlim(magnitudes, random_state=SEED, **settings)


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS / "audio.json")
    arguments = parser.parse_args()
    rounds, begin = arguments.rounds, time.perf_counter()
    torch.set_num_threads(1)
    transform = MelTransform(
        sample_rate_hz=RATE, n_fft=N_FFT, hop_length=HOP, mels=MELS, f_min_hz=0.0, f_max_hz=RATE / 2
    )
    samples = clips(MEL_CLIPS)
    padded = pad(samples).numpy()
    target = spectrogram(samples[:PHASE_CLIPS])
    magnitudes = np.ascontiguousarray(target.mT.numpy())
    keys = make_keys(SEED, PHASE_CLIPS)

    difference = float(np.abs(transform.log_mel(samples).numpy() - librosa_mel(padded)).max())
    left = (N_FFT - HOP) // 2
    theirs = torch.from_numpy(librosa_griffin_lim(magnitudes))[:, left : left + RATE]
    errors = {
        "ours": convergence(transform.griffin_lim(target, keys, iterations=ITERATIONS)[:, :RATE], target),
        "librosa": convergence(theirs, target),
    }
    if difference > 1e-3 or errors["ours"] > 1.02 * errors["librosa"]:
        sys.exit(f"outputs are not comparable: log-mels differ by {difference}, spectral convergence {errors}")

    candidates: dict[str, dict[str, Callable[[], object]]] = {
        "log-mel": {
            "ours": lambda: transform.log_mel(samples),
            "per clip": lambda: [librosa_mel(clip) for clip in padded],
            "batched": lambda: librosa_mel(padded),
        },
        "Griffin-Lim": {
            "ours": lambda: transform.griffin_lim(target, keys, iterations=ITERATIONS),
            "per clip": lambda: [librosa_griffin_lim(clip) for clip in magnitudes],
            "batched": lambda: librosa_griffin_lim(magnitudes),
        },
    }
    table = Table("what", "librosa, ms/clip", "ours, ms/clip", "ratio", "bar", title="Audio, one thread, CPU time")
    results = {}
    for what, ways in candidates.items():
        count = MEL_CLIPS if what == "log-mel" else PHASE_CLIPS
        times = [
            {way: cpu_seconds(function) / count * 1e3 for way, function in ways.items()} for _ in range(rounds + 1)
        ]
        times = times[1:]  # the first round warms up
        ours = median(turn["ours"] for turn in times)
        for way in ("per clip", "batched"):
            name = f"{what}, {way}"
            ratio = median(turn[way] / turn["ours"] for turn in times)
            librosa_ms = median(turn[way] for turn in times)
            results[name] = {"ratio": ratio, "bar": BARS[name], "ours_ms": ours, "librosa_ms": librosa_ms}
            table.add_row(name, f"{librosa_ms:.3f}", f"{ours:.3f}", f"{ratio:.2f}", f"{BARS[name]}")
    console = Console()
    console.print(table)
    console.print(f"largest log-mel difference {difference:.1e}; spectral convergence {errors}")
    report = {
        **about(time.perf_counter() - begin, seed=SEED, peer="librosa"),
        "rounds": rounds,
        "log_mel_difference": difference,
        "spectral_convergence": errors,
        "results": results,
    }
    save(report, arguments.output)


if __name__ == "__main__":
    main()
