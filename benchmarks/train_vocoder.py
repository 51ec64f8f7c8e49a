"""Trains the vocoder that comes with the package, on the speech of ``package_speech.py``.

    nice python benchmarks/train_vocoder.py FOLDER --minutes 35

FOLDER is that of ``package_speech.py``. Every half minute the averaged weights go to ``FOLDER/vocoder``; the command
goes on where it was stopped. ``--ship`` trains nothing, and writes what is there, in half precision, to the package.

The loss is that of ``IstftVocoder``, on pieces of half a second, made louder and softer. In half of the rows the
spectrogram has noise, since what is generated later is never exact.
"""

import argparse
import copy
import json
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from package_speech import HELD_OUT, SOURCES, build, held_out
from polymodal.files import atomic_file
from polymodal.modalities import Audio
from polymodal.modalities.audio import LOG_MEL_MEAN, LOG_MEL_SCALE
from polymodal.nn.random import make_keys
from polymodal.training.muon import Muon, hidden_matrices
from polymodal.types import Field
from polymodal.vocoders.istft import IstftVocoder
from polymodal.vocoders.trained import REVISION, SHAPE

FRAMES, MARGIN, BATCH, RATE, AVERAGE = 32, 2, 16, 1.5e-3, 0.998
"""Pieces have ``MARGIN`` more frames on either side, which only their neighbours' spectra see."""
NOISE, NOISY = 0.15, 0.5
"""Of the standardised spectrogram, and the share of rows that have it."""
DECAY = 0.4
"""Share of the minutes in which the learning rate falls to zero."""


class Pieces:
    """Batches of speech (B, samples) of the packages, each by its share."""

    def __init__(self, folder: Path, seed: int):
        self.speech = [np.load(build(source, folder), mmap_mode="r") for source in SOURCES]
        self.shares = [source.share for source in SOURCES]
        self.rng = np.random.default_rng(seed)

    def batch(self, rows: int, frames: int, hop: int) -> Tensor:
        made = np.empty((rows, frames * hop), np.float32)
        for row, which in enumerate(self.rng.choice(len(self.shares), rows, p=self.shares)):
            start = self.rng.integers(len(self.speech[which]) - frames * hop)
            made[row] = self.speech[which][start : start + frames * hop]
        gains = 10 ** self.rng.uniform(-0.9, 0.3, (rows, 1))
        return torch.from_numpy(np.clip(made * (gains / 32768), -1, 1).astype(np.float32))


class InHalf(nn.Module):
    """A block, computed in half precision; what makes the spectrum of its output is not."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.block(x).float()


def pair(audio: Audio, samples: Tensor, noise: bool) -> tuple[Field, Field]:
    """Spectrograms and samples by frames, as ``IstftVocoder.loss`` takes them, without the margins."""
    inner = slice(MARGIN, samples.shape[1] // audio.hop_length - MARGIN)
    mel = (audio.transform.log_mel(samples)[..., inner] - LOG_MEL_MEAN) / LOG_MEL_SCALE
    if noise:
        scale = NOISE * torch.randn(len(mel), 1, 1).abs() * (torch.rand(len(mel), 1, 1) < NOISY)
        mel = mel + scale * torch.randn_like(mel)
    frames = samples.unflatten(1, (-1, audio.hop_length)).mT[..., inner]
    real = torch.ones(len(mel), mel.shape[2], dtype=torch.bool)
    return Field(mel, real, real[:, 0], varies=1), Field(frames, real, real[:, 0], varies=1)


def terms(network: IstftVocoder, fields: tuple[Field, Field]) -> dict[str, Tensor]:
    rows = len(fields[0].value)
    return {name: term.mean() for name, term in network.loss(*fields, "model", make_keys(0, rows)).items()}


def train(folder: Path, minutes: float, seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    audio, pieces = Audio(), Pieces(folder, seed)
    network = IstftVocoder(audio, **SHAPE, crop_frames=FRAMES)
    average = copy.deepcopy(network).eval()
    unseen = [clip for language in HELD_OUT for _, clip in held_out(language, folder, 64)]
    length = (FRAMES + 2 * MARGIN) * audio.hop_length
    unseen_pair = pair(audio, torch.from_numpy(np.stack([c[:length] for c in unseen if len(c) >= length])), False)
    some_pair = pair(audio, pieces.batch(64, FRAMES + 2 * MARGIN, audio.hop_length), False)
    matrices = hidden_matrices(network.blocks)
    optimizer = Muon(
        [
            {"params": [p for p in network.parameters() if (p in matrices) == orthogonal], "orthogonal": orthogonal,
             "betas": (0.95 if orthogonal else 0.8, 0.99), "weight_decay": 0.0}
            for orthogonal in (True, False)
        ],
        lr=RATE,
    )  # fmt: skip
    state, step, spent, told = folder / "vocoder" / "state.pt", 0, 0.0, 0.0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["minutes"]
        pieces.rng = np.random.default_rng([seed, step])
        torch.manual_seed(seed + step)
    state.parent.mkdir(parents=True, exist_ok=True)
    learning = copy.copy(network)  # the same parameters
    learning._modules = network._modules | {"blocks": nn.ModuleList(map(InHalf, network.blocks))}
    start = time.process_time() - 60 * spent
    while (done := (time.process_time() - start) / 60 / minutes) < 1:
        rate = RATE * min(1.0, (step + 1) / 300) * min(1.0, (1 - done) / DECAY)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = terms(learning, pair(audio, pieces.batch(BATCH, FRAMES + 2 * MARGIN, audio.hop_length), True))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        step += 1
        with torch.no_grad():
            weight = 1 - min(AVERAGE, 1 - 10 / (step + 10))
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), weight)
        if done * minutes >= told:
            told = done * minutes + 0.5
            with atomic_file(folder / "vocoder" / "weights.safetensors") as partial:
                save_file({name: tensor.contiguous() for name, tensor in average.state_dict().items()}, partial)
            kept = {"network": network.state_dict(), "average": average.state_dict(), "step": step,
                    "optimizer": optimizer.state_dict(), "minutes": done * minutes}  # fmt: skip
            with atomic_file(state) as partial:
                torch.save(kept, partial)
            figures = {"step": step, "minutes": done * minutes, "rate": rate}
            with torch.no_grad():
                for where, fields in (("some", some_pair), ("unseen", unseen_pair)):
                    figures |= {f"{where} {name}": float(term) for name, term in terms(average, fields).items()}
            print(json.dumps({name: round(figure, 4) for name, figure in figures.items()}), flush=True)
    with atomic_file(folder / "vocoder" / "weights.safetensors") as partial:
        save_file({name: tensor.contiguous() for name, tensor in average.state_dict().items()}, partial)


def ship(folder: Path) -> None:
    """Writes the weights where the package keeps them."""
    weights = load_file(folder / "vocoder" / "weights.safetensors")
    place = Path(str(files("polymodal.vocoders") / "weights" / f"{REVISION}.safetensors"))
    place.parent.mkdir(exist_ok=True)
    with atomic_file(place) as partial:
        save_file({name: tensor.half() for name, tensor in weights.items()}, partial)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=35.0, help="of the processor")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ship", action="store_true")
    given = parser.parse_args()
    if given.ship:
        ship(given.folder)
    else:
        train(given.folder, given.minutes, given.seed)
