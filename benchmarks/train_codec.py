"""Trains the picture codec that comes with the package, on the pictures of ``package_pictures.py``.

    nice python benchmarks/train_codec.py FOLDER --minutes 60

FOLDER is that of ``package_pictures.py``. Every half minute the averaged weights go to ``FOLDER/codec``; the command
goes on where it was stopped. ``--ship`` trains nothing, and writes what is there, in half precision, to the package.

The loss is the one that a run's own codec learns by (absolute errors, and those of edges), with a squared error, on
codes with noise, since what is generated later is never exact. In one step of seven the code is shrunk to half its
size, and has to decode to the picture shrunk: the code then is as smooth as pictures are. Source: Kouzelis et al.,
"EQ-VAE: equivariance regularized latent space for improved generative image modeling", 2025.
"""

import argparse
import copy
import json
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from package_pictures import HELD_OUT, SOURCES, build, pictures, square
from polymodal.codecs.convolutional import ConvolutionalAutoencoder
from polymodal.codecs.trained import LATENT, REVISION, SHAPE
from polymodal.files import atomic_file
from polymodal.training.muon import Muon, hidden_matrices
from polymodal.types import Field, Space

SIDE, BATCH, RATE, AVERAGE = 64, 32, 7e-4, 0.998
NOISE, PRIOR, EDGES, SQUARES = 0.05, 1e-4, 0.5, 4.0
SMALLER, PHOTOGRAPHS = 0.15, 0.65
"""Shares of the steps on shrunken codes, and of the photographs in a batch."""
DECAY = 0.35
"""Share of the minutes in which the learning rate falls to zero."""


class Tiles:
    """Batches of pictures (B, 3, 64, 64) in [-1, 1]: parts of tiles or whole ones, turned, dimmed and tinted."""

    def __init__(self, folder: Path, seed: int):
        self.tiles = [
            [np.load(file, mmap_mode="r") for file in sorted((folder / "tiles").glob(f"{kind}-*.npy"))]
            for kind in ("photograph", "drawing")
        ]
        self.shares = [np.array([len(of) for of in kind]) / sum(map(len, kind)) for kind in self.tiles]
        self.rng = np.random.default_rng(seed)

    def batch(self, rows: int) -> Tensor:
        rng, made = self.rng, []
        for _ in range(rows):
            kind = int(rng.random() > PHOTOGRAPHS)
            of_kind = self.tiles[kind][rng.choice(len(self.shares[kind]), p=self.shares[kind])]
            tile = torch.from_numpy(of_kind[int(rng.integers(len(of_kind)))]).permute(2, 0, 1).float() / 127.5 - 1
            if rng.random() < 0.7:
                top, left = rng.integers(0, tile.shape[1] - SIDE + 1, 2)
                tile = tile[:, top : top + SIDE, left : left + SIDE]
            else:
                tile = F.interpolate(tile[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
            if rng.random() < 0.5:
                tile = tile.flip(2)
            if rng.random() < 0.1:
                tile = tile.transpose(1, 2)
            if rng.random() < 0.15:
                tile = tile[rng.permutation(3)]
            if rng.random() < 0.08:
                tile = tile.mean(0, keepdim=True).expand(3, -1, -1)
            if rng.random() < 0.3:
                tile = (tile * rng.uniform(0.6, 1.3) + rng.uniform(-0.2, 0.2)).clamp(-1, 1)
            made.append(tile)
        return torch.stack(made)


def autoencoder(side: int = SIDE) -> ConvolutionalAutoencoder:
    return ConvolutionalAutoencoder(Space("continuous", (3, side, side), bounds=(-1.0, 1.0)), LATENT, LATENT, **SHAPE)


def field(value: Tensor) -> Field:
    there = torch.ones(len(value), 1, dtype=torch.bool)
    return Field(value, there, there[:, 0])


def loss(network: ConvolutionalAutoencoder, value: Tensor, smaller: bool) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        code = network.analyse(field(value))[0].float()
    prior = PRIOR * code.square().mean()
    if smaller:
        code, value = F.avg_pool2d(code, 2), F.avg_pool2d(value, 2)
    scale = NOISE * code.detach().std() * torch.randn(len(code), 1, 1, 1).abs()
    with torch.autocast("cpu", torch.bfloat16):
        made = network.synthesise(code + scale * torch.randn_like(code), None).float()
    losses = {name: term.mean() for name, term in network.errors(made, value, None, EDGES).items()}
    return losses | {"squares": SQUARES * (made - value).square().mean(), "prior": prior}


def held_out(folder: Path, side: int) -> Tensor:
    """Photographs that nothing learns from, (N, 3, side, side): their middles, shrunk to ``side``."""
    made = [square(picture, side) for source in HELD_OUT for _, picture in pictures(source, folder)]
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2) / 127.5 - 1


@torch.no_grad()
def psnr(network: ConvolutionalAutoencoder, value: Tensor) -> float:
    """Mean over pictures, in dB."""
    own = autoencoder(value.shape[-1])
    own.load_state_dict(network.state_dict())
    code, _ = own.analyse(field(value))
    error = (own.synthesise(code, None) - value).square().flatten(1).mean(1)
    return float((10 * torch.log10(4 / error)).mean())


def train(folder: Path, minutes: float, seed: int) -> None:
    torch.manual_seed(seed)
    for source in SOURCES:
        build(source, folder)
    tiles, network = Tiles(folder, seed), autoencoder()
    state = folder / "codec" / "state.pt"
    if not state.exists():
        network.start_from_components([field(tiles.batch(256)) for _ in range(16)], whiten=False)
    some, unseen = tiles.batch(64), held_out(folder, SIDE)
    matrices = hidden_matrices(network)
    optimizer = Muon(
        [
            {"params": [p for p in network.parameters() if (p in matrices) == orthogonal], "orthogonal": orthogonal,
             "betas": (0.95 if orthogonal else 0.9, 0.99), "weight_decay": 0.0}
            for orthogonal in (True, False)
        ],
        lr=RATE,
    )  # fmt: skip
    average, step, spent, told = copy.deepcopy(network).eval(), 0, 0.0, 0.0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["minutes"]
        tiles.rng = np.random.default_rng([seed, step])
    start = time.process_time() - 60 * spent
    network.train()
    while (done := (time.process_time() - start) / 60 / minutes) < 1:
        rate = RATE * min(1.0, (step + 1) / 200) * min(1.0, (1 - done) / DECAY)
        for group in optimizer.param_groups:
            group["lr"] = rate
        terms = loss(network, tiles.batch(BATCH), bool(tiles.rng.random() < SMALLER))
        optimizer.zero_grad()
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()), list(network.parameters()), 1 - min(AVERAGE, 1 - 10 / (step + 10))
            )
        if done * minutes >= told:
            told = done * minutes + 0.5
            save(average, folder)
            torch.save(
                {
                    "network": network.state_dict(),
                    "average": average.state_dict(),
                    "step": step,
                    "optimizer": optimizer.state_dict(),
                    "minutes": done * minutes,
                },
                state,
            )
            figures = {"step": step, "minutes": done * minutes, "rate": rate, "seen": psnr(average, some),
                       "held out": psnr(average, unseen)}  # fmt: skip
            figures |= {name: float(term) for name, term in terms.items()}
            print(json.dumps({name: round(figure, 4) for name, figure in figures.items()}), flush=True)
    save(average, folder)


def save(network: nn.Module, folder: Path) -> None:
    weights = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_file(folder / "codec" / "weights.safetensors") as partial:
        save_file(weights, partial)


@torch.no_grad()
def ship(folder: Path, seed: int) -> None:
    """Writes the weights where the package keeps them, with mean and deviation of the code of training pictures."""
    network = autoencoder()
    network.load_state_dict(load_file(folder / "codec" / "weights.safetensors"))
    code, _ = network.analyse(field(Tiles(folder, seed).batch(1024)))
    mean = code.mean((0, 2, 3))
    scale = (code - mean.view(1, -1, 1, 1)).square().mean().sqrt()
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()} | {
        "mean": mean,
        "std": scale,
    }
    half = {name: tensor.half().contiguous() for name, tensor in weights.items()}
    with atomic_file(Path(str(files("polymodal.codecs") / "weights" / f"{REVISION}.safetensors"))) as partial:
        save_file(half, partial)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the processor")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ship", action="store_true")
    given = parser.parse_args()
    if given.ship:
        ship(given.folder, given.seed)
    else:
        train(given.folder, given.minutes, given.seed)
