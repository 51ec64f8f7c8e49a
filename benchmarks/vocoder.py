"""A run's vocoder, and the one that comes trained, against Griffin-Lim on voices that they have never heard.

    python benchmarks/vocoder.py [--minutes 10 | --steps 6000] [--rounds 5] [--clips 160] [--run FOLDER] [--people DIR]

All make sound of the spectrograms of the two held-out voices of `emoji:concepts=240` (extra `demo`), after the run's
vocoder has learned from the training voices on one core. With --people, a folder of `package_speech.py`, of
recordings as well that nothing learned from: English phrases, which are the recogniser's grammar, and a man who speaks
Italian. Compared with the recordings:

- log-spectral distance: root mean square over frequencies, in decibels of the magnitude, mean over frames and clips,
  for frames of 1024, 512 and 256 samples (every quarter of that); below -80 dB of a full-scale sine all is silence.
- error of pocketsphinx, with the names as its grammar, on names that its dictionary has.
- speed: seconds of sound made in a second of process CPU, one thread, one clip after the other, from spectrogram to
  samples, in alternating rounds; the ratio is the median over the rounds.

Griffin-Lim is the fast one, 32 iterations on magnitudes by non-negative least squares, as `Audio.write` does without a
vocoder. Prints tables and writes benchmarks/results/vocoder.json. With --run, the training is kept and goes on there.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # read by the libraries below when they are loaded

os.environ["ACCELERATE_USE_CPU"] = "true"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import polymodal as pm  # noqa: E402
from package_speech import HELD_OUT, MOST_SECONDS, held_out  # noqa: E402
from polymodal.config import TrainConfig  # noqa: E402
from polymodal.data.cells import resolve  # noqa: E402
from polymodal.data.emoji import FIELDS  # noqa: E402
from polymodal.evaluation.judges import Recogniser  # noqa: E402
from polymodal.modalities.audio import Waveform  # noqa: E402
from polymodal.modalities.stft import Stft  # noqa: E402
from polymodal.parts import build_part  # noqa: E402
from polymodal.training.engines.data_parallel import DataParallel  # noqa: E402
from polymodal.training.pretraining import train_vocoder  # noqa: E402
from polymodal.vocoders import Vocoder  # noqa: E402
from polymodal.vocoders.trained import TrainedVocoder  # noqa: E402
from polymodal.yaml_text import parse_override  # noqa: E402
from record import RESULTS, about, save  # noqa: E402

FRAMES = (1024, 512, 256)
SILENCE_DB = -80
SPEED_BARS = {"vocoder": 3.0, "trained": 0.8}
PEOPLE_CLIPS = 66


def log_spectral_distance(made: np.ndarray, real: np.ndarray, n_fft: int) -> float:
    """Decibels, mean over the frames of a clip; 0 is perfect."""
    stft = Stft(n_fft, n_fft // 4)
    full_scale = float(stft.window.sum()) / 2
    powers = stft.power(torch.from_numpy(np.stack([made, real]))) / full_scale**2
    decibels = 10 * powers.clamp(min=10 ** (SILENCE_DB / 10)).log10()
    return float((decibels[0] - decibels[1]).square().mean(1).sqrt().mean())


def trained(data: pm.Data, options: dict, config: TrainConfig, run: Path) -> tuple[torch.nn.Module, dict]:
    """A vocoder that has learned from the training voices, and what that took."""
    torch.manual_seed(config.seed)
    vocoder = build_part("vocoder", {"kind": "istft", **options}, "--set", data.fields["speech"])
    train_vocoder("speech", vocoder, data.train, config, run, DataParallel("no"))
    last = json.loads((run / "vocoders/speech/metrics.jsonl").read_text().splitlines()[-1])
    return vocoder, last


def measure(
    audio: pm.Audio,
    ways: Mapping[str, Vocoder | None],
    recordings: Sequence[np.ndarray],
    said: Sequence[str],
    phrases: Sequence[str],
    rounds: int,
) -> tuple[dict[str, dict[str, float]], dict[str, list[float]]]:
    """By way, the error and the distances; and how many times faster than real time it is, round by round.

    Args:
        audio: Of the recordings.
        ways: Vocoders by name, None for Griffin and Lim's algorithm.
        recordings: (T,) each.
        said: In each recording; empty where that is not known.
        phrases: What the recogniser may hear; if there are none, it is not asked.
        rounds: In which the ways take turns.
    """
    mels = [audio.to_model(torch.from_numpy(audio.read(clip))[None])[0] for clip in recordings]
    seconds, made = sum(map(len, recordings)) / audio.sample_rate_hz, dict[str, Sequence[np.ndarray]]()
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, maker in ways.items():
            audio.vocoder = maker
            start = time.process_time()
            made[way] = [audio.write(mel).samples for mel in mels]
            speeds[way].append(seconds / (time.process_time() - start))
    made["recordings"] = recordings
    recogniser = Recogniser(phrases) if phrases else None
    results: dict[str, dict[str, float]] = {way: {} for way in made}
    for way, clips in made.items():
        if recogniser:
            heard = recogniser.recognise([Waveform(clip, audio.sample_rate_hz) for clip in clips])
            right = [recogniser.sayable.get(name) for name in said]
            results[way]["error"] = float(np.mean([a != b for a, b in zip(right, heard, strict=True) if a]))
        if way != "recordings":
            for n_fft in FRAMES:
                distances = [
                    log_spectral_distance(c[: len(r)], r, n_fft) for c, r in zip(clips, recordings, strict=True)
                ]
                results[way][f"distance_{n_fft}_db"] = float(np.mean(distances))
            results[way]["times_real_time"] = median(speeds[way])
    return {way: row for way, row in results.items() if row}, speeds


def shown(title: str, results: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table("", *(f"distance, {n}, dB" for n in FRAMES), "pocketsphinx's error", "x real time", title=title)
    for way, row in results.items():
        distances = [f"{row[f'distance_{n}_db']:.2f}" if way != "recordings" else "" for n in FRAMES]
        speed = f"{row['times_real_time']:.0f}" if way != "recordings" else ""
        table.add_row(way, *distances, f"{row['error']:.1%}" if "error" in row else "", speed)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")
    parser.add_argument("--steps", type=int, help="of training, in place of minutes: where the core is shared")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, help="score only so many")
    parser.add_argument("--run", type=Path, help="folder of the training")
    parser.add_argument("--people", type=Path, help="folder of package_speech.py")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="argument of the vocoder")
    parser.add_argument("--output", type=Path, default=RESULTS / "vocoder.json")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    options = dict(parse_override(item) for item in arguments.set)
    if arguments.steps:
        config = TrainConfig(vocoder_steps=arguments.steps)
    else:
        config = TrainConfig(minutes=arguments.minutes / 0.98, vocoder_share=0.98)
    data = pm.load("emoji:concepts=240", {name: FIELDS[name] for name in ("speech", "name")})
    audio = data.fields["speech"]
    with tempfile.TemporaryDirectory() as folder:
        vocoder, last = trained(data, options, config, arguments.run or Path(folder))

    rows = data.test.where(held_out="voice").unique("speech")
    rows = rows.select(np.linspace(0, len(rows) - 1, min(len(rows), arguments.clips or len(rows))).astype(np.int64))
    ways = {"Griffin-Lim": None, "vocoder": vocoder, "trained": TrainedVocoder(audio).eval()}
    recordings = [audio.samples(resolve(cell, audio, rows.source.root)) for cell in rows.column("speech")]
    phrases = sorted(set(data.train.column("name")) | set(rows.column("name")))
    results, speeds = measure(audio, ways, recordings, rows.column("name"), phrases, arguments.rounds)
    people: dict[str, dict[str, dict[str, float]]] = {}
    for language in HELD_OUT if arguments.people else ():
        said, clips = zip(*held_out(language, arguments.people, PEOPLE_CLIPS), strict=True)
        longer = pm.Audio(max_seconds=MOST_SECONDS)
        people[language] = measure(longer, ways, clips, said, sorted(set(said) - {""}), 1)[0]
    seconds = sum(map(len, recordings)) / audio.sample_rate_hz
    ratios = {
        way: median(a / b for a, b in zip(speeds[way], speeds["Griffin-Lim"], strict=True)) for way in ways if ways[way]
    }
    bars, theirs = dict[str, bool](), results["Griffin-Lim"]
    for way, ratio in ratios.items():
        ours = results[way]
        bars |= {
            f"{way}: log-spectral distance below Griffin-Lim's": all(
                ours[f"distance_{n}_db"] < theirs[f"distance_{n}_db"] for n in FRAMES
            ),
            f"{way}: recogniser's error no worse": ours["error"] <= theirs["error"],
            f"{way}: at least {SPEED_BARS[way]:g} x as fast": ratio >= SPEED_BARS[way],
            f"{way}: faster than real time on one core": ours["times_real_time"] > 1,
        }

    console = Console()
    for title, measured in {"Vocoder": results, **people}.items():
        console.print(shown(title, measured))
    console.print(
        f"{len(recordings)} clips, {seconds:.0f} s; {ratios['vocoder']:.2f} x as fast as Griffin-Lim, "
        f"trained {ratios['trained']:.2f} x; {last['step']} steps"
    )
    for bar, met in bars.items():
        console.print(f"{'met' if met else 'NOT MET'}: {bar}")
    report = {
        **about(time.perf_counter() - begin, seed=config.seed),
        "data": "emoji:concepts=240, held-out voices",
        "clips": len(recordings),
        "seconds_of_sound": seconds,
        "options": options,
        "training": {"minutes": last["seconds"] / 60, "steps": last["step"], "seed": config.seed},
        "parameters": sum(parameter.numel() for parameter in vocoder.parameters()),
        "results": results,
        "ratio_of_speeds": ratios["vocoder"],
        "ratio_of_speeds_trained": ratios["trained"],
        **({"people": people} if people else {}),
        "bars": bars,
    }
    save(report, arguments.output)


if __name__ == "__main__":
    main()
