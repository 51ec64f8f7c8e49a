"""A tiny world on disk, and a recipe that learns something of it in seconds.

Every row is a coloured shape: its picture, its name, a tone whose pitch tells the colour, the colour as a label, and
its two coordinates. Some cells are missing.
"""

import json
import signal
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny import DEFAULTS, FUSION, SHAPES, draw_shape

COLOURS = {"red": 300.0, "green": 500.0, "blue": 800.0}
RATE = 4000

FIELDS = {
    "picture": {"modality": "image", "size": 16},
    "name": {"modality": "text", "max_length": 16},
    "tone": {"modality": "audio", "sample_rate_hz": RATE, "max_seconds": 0.3, "mels": 12, "n_fft": 256,
             "hop_length": 64},
    "colour": {"modality": "label"},
    "place": {"modality": "vector", "size": 2},
}  # fmt: skip

RECIPE: dict[str, Any] = {
    "description": "Tiny, for tests.",
    "fields": FIELDS,
    "width": 16,
    "defaults": {
        **DEFAULTS,
        "audio": {
            "encoder": {"kind": "spectrogram", "stages": 1, "depth": 1, "heads": 2},
            "codec": {"kind": "kl", "latent": 4, "channels": [8], "patch": 2},
            "head": {"kind": "flow", "depth": 1, "heads": 2, "repeats": 1, "steps": 3},
        },
    },
    "fusion": FUSION,
    "data": {"test": 0.2, "validation": 0.1},
    "train": {
        "steps": 8,
        "codec_steps": 4,
        "batch_size": 8,
        "codec_batch_size": 8,
        "log_every": 2,
        "checkpoint_steps": 4,
        "keep": 3,
    },
}


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are named by their number: those of a WAV file tell when it was made, and all workers need one name."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing is cached outside the tests, and one thread makes sums repeatable."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODAL_CACHE", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        yield folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``rows.jsonl`` with 60 rows, and its files."""
    folder = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    rows = []
    for number in range(60):
        colour, shape = list(COLOURS)[number % 3], SHAPES[number // 3 % 2]
        x, y = random.uniform(5, 11, 2).round(2).tolist()
        draw_shape(colour, shape, x, y).save(folder / f"{number}.png")
        write_tone(folder / f"{number}.wav", COLOURS[colour], 0.1 + 0.15 * random.random())
        row = {
            "picture": f"{number}.png",
            "name": f"{colour} {shape}",
            "tone": f"{number}.wav",
            "colour": colour,
            "place": [x, y],
        }
        for name in list(row):
            if random.random() < 0.2 and len(row) > 2:
                row[name] = None
        rows.append({"id": number, **row})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def recipe() -> dict[str, Any]:
    """Of the tiny world."""
    return RECIPE


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a file (JSON is YAML)."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(json.dumps(RECIPE))
    return path


@pytest.fixture(scope="session")
def trained(world: Path, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps, trained as a user would. Tests only read it."""
    from polymodal.cli.main import main

    run = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", str(recipe_file), "--data", str(world / "rows.jsonl"), "-o", str(run)]) == 0
    return run


@pytest.fixture(scope="session")
def aligned(world: Path, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny world with an alignment. Tests only read it, but for its index."""
    from polymodal.cli.main import main

    run = tmp_path_factory.mktemp("aligned") / "run"
    settings = ("alignment.kind=infonce", "train.steps=40", "train.learning_rate=3e-3", "train.batch_size=16")
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", str(recipe_file), "--data", str(world / "rows.jsonl"), "-o", str(run), *options]) == 0
    return run


def write_tone(path: Path, hertz: float, seconds: float) -> None:
    """A sine as a WAV file."""
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


@pytest.fixture
def signals() -> Iterator[None]:
    """Signals as at a terminal: whoever starts the tests in the background, or by nohup, has some of them ignored."""
    plain = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in plain.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def gradients() -> Iterator[None]:
    """No test leaves gradients switched off, of which the next one that trains would die."""
    yield
    left, _ = torch.is_grad_enabled(), torch.set_grad_enabled(True)
    assert left
